import { basename } from "node:path";
import { assembleWeights } from "../assemble-weights.ts";
import type { FileRange } from "../embedded-file.ts";
import { knownSampling } from "../known-sampling.ts";
import { toModelSpec } from "../model-config.ts";
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
    return {
      name: servedName(metadata.string("general.name") ?? basename(metadata.file, ".gguf")),
      plan: { spec: toModelSpec(config), paths, tensors },
      text: readGgufText(metadata, config.vocabSize),
      generationDefaults: { ...knownSampling(metadata.string("general.name")), ...samplingDefaults(metadata) },
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

function samplingDefaults(metadata: Metadata): OpenedModel["generationDefaults"] {
  const found: Record<string, number> = {};
  const take = (name: string, key: string, allowed: (value: number) => boolean) => {
    const value = metadata.float(`general.sampling.${key}`);
    if (value === undefined) return;
    if (!allowed(value)) throw metadata.error(`general.sampling.${key}`, `is ${value}, which is out of range`);
    found[name] = value;
  };
  take("temperature", "temp", (value) => value >= 0);
  take("topP", "top_p", (value) => value > 0 && value <= 1);
  take("topK", "top_k", (value) => Number.isInteger(value) && value >= 0);
  take("minP", "min_p", (value) => value >= 0 && value <= 1);
  take("repetitionPenalty", "penalty_repeat", (value) => value > 0);
  return found;
}
