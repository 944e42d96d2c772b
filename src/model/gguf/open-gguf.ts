import { basename } from "node:path";
import { assembleWeights } from "../assemble-weights.ts";
import type { FileRange } from "../embedded-file.ts";
import { knownSampling } from "../known-sampling.ts";
import { toModelSpec } from "../model-config.ts";
import { readSamplingDefaults, type SamplingDefaults } from "../sampling-defaults.ts";
import { servedName } from "../served-name.ts";
import type { OpenedModel } from "../spec.ts";
import { describeQuantization, weightBytes } from "../weight-totals.ts";
import { readGgufConfig } from "./gguf-config.ts";
import { ggufNaming, ROPE_FREQS } from "./gguf-naming.ts";
import { type GgufParts, openGgufParts } from "./gguf-parts.ts";
import { readGgufText } from "./gguf-text.ts";
import type { Metadata } from "./metadata.ts";

/** Opens and checks a GGUF checkpoint; reads headers only. Throws ModelError. */
export function openGguf(place: string | FileRange): OpenedModel {
  const parts = openGgufParts(place);
  try {
    const { metadata, byName, paths } = parts;
    const config = readGgufConfig(metadata, byName, readRopeDivisors(parts));
    const tensors = assembleWeights(config, parts, ggufNaming(metadata.file, config));
    const { defaults, warnings } = samplingDefaults(metadata);
    return {
      name: servedName(metadata.string("general.name") ?? basename(metadata.file, ".gguf")),
      plan: { spec: toModelSpec(config), paths, tensors },
      text: readGgufText(metadata, config.vocabSize),
      generationDefaults: defaults,
      recommendedSampling: knownSampling(metadata.string("general.name")),
      warnings,
      fileBytes: weightBytes(tensors),
      quantization: describeQuantization(tensors),
    };
  } finally {
    parts.close();
  }
}

/** llama3's scaling comes as a tensor of divisors, one a frequency. */
function readRopeDivisors(parts: GgufParts): Float32Array | undefined {
  const tensor = parts.byName.get(ROPE_FREQS);
  if (tensor === undefined) return undefined;
  const prefix = parts.metadata.string("general.architecture");
  const error = (problem: string) => parts.metadata.error(ROPE_FREQS, problem);
  const count = tensor.shape[0]!;
  if (tensor.dtype !== "f32" || tensor.shape.length !== 1) throw error("is not a vector of F32");
  const headDim =
    parts.metadata.int(`${prefix}.attention.key_length`, 2, 2 * count) ??
    parts.metadata.requiredInt(`${prefix}.embedding_length`, 1, Number.MAX_SAFE_INTEGER) /
      parts.metadata.requiredInt(`${prefix}.attention.head_count`, 1, Number.MAX_SAFE_INTEGER);
  if (count !== headDim / 2) throw error(`has ${count} values for a head of ${headDim}`);
  const bytes = parts.read(tensor);
  const divisors = Float32Array.from({ length: count }, (_, i) => bytes.readFloatLE(4 * i));
  if (!divisors.every((value) => Number.isFinite(value) && value > 0))
    throw error("holds a value that is not positive");
  return divisors;
}

/** Keys of general.sampling.*. */
const SAMPLING_KEYS: Readonly<Record<keyof SamplingDefaults, string>> = {
  temperature: "temp",
  topP: "top_p",
  topK: "top_k",
  minP: "min_p",
  repetitionPenalty: "penalty_repeat",
};

function samplingDefaults(metadata: Metadata) {
  return readSamplingDefaults(metadata.file, (field) => {
    const name = `general.sampling.${SAMPLING_KEYS[field]}`;
    return { name, value: metadata.raw(name) };
  });
}
