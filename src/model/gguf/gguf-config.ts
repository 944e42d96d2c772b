import { ARCHITECTURE_NAMES, ggufArchitecture } from "../architectures.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import type { ExpertConfig, ModelConfig } from "../model-config.ts";
import { ModelError } from "../model-error.ts";
import type { StoredTensor } from "../stored-tensor.ts";
import { refuseUnsupportedKeys } from "./gguf-refusals.ts";
import { readGgufRope } from "./gguf-rope.ts";
import type { Metadata } from "./metadata.ts";

/**
 * Reads a model's numbers from GGUF metadata (keys of the specification's section "standardized key-value pairs").
 * `ropeDivisors` are the values of rope_freqs.weight, where the file has that tensor. Throws ModelError.
 */
export function readGgufConfig(
  metadata: Metadata,
  tensors: ReadonlyMap<string, StoredTensor>,
  ropeDivisors: Float32Array | undefined,
): ModelConfig {
  const prefix = metadata.string("general.architecture");
  if (prefix === undefined) throw metadata.error("general.architecture", "is missing");
  const key = (name: string) => `${prefix}.${name}`;
  const expertCount = metadata.int(key("expert_count"), 0, MODEL_BOUNDS.maxExperts) ?? 0;
  const architecture = ggufArchitecture(prefix, expertCount > 0);
  if (architecture === undefined) {
    const what = expertCount > 0 ? `${prefix} with experts` : prefix;
    throw metadata.error("general.architecture", `is ${what}; supported are ${ARCHITECTURE_NAMES}`);
  }
  refuseUnsupportedKeys(metadata, prefix);

  const hiddenSize = metadata.requiredInt(key("embedding_length"), 1, MODEL_BOUNDS.maxHiddenSize);
  const numLayers = metadata.requiredInt(key("block_count"), 1, MODEL_BOUNDS.maxLayers);
  const numHeads = metadata.requiredInt(key("attention.head_count"), 1, MODEL_BOUNDS.maxHeads);
  const numKvHeads = metadata.int(key("attention.head_count_kv"), 1, numHeads) ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw metadata.error(key("attention.head_count_kv"), `is ${numKvHeads}, which does not divide ${numHeads} heads`);
  }
  const headDim = readHeadDim(metadata, prefix, hiddenSize, numHeads);
  const eps = metadata.float(key("attention.layer_norm_rms_epsilon"));
  if (eps === undefined || eps <= 0 || eps >= 1) {
    throw metadata.error(key("attention.layer_norm_rms_epsilon"), "is missing or not between 0 and 1");
  }
  const maxPositions = metadata.requiredInt(key("context_length"), 1, MODEL_BOUNDS.maxPositions);
  const rope = readGgufRope(metadata, prefix, maxPositions, ropeDivisors);
  const window = metadata.int(key("attention.sliding_window"), 0, MODEL_BOUNDS.maxPositions) ?? 0;
  return {
    architecture,
    numLayers,
    hiddenSize,
    numHeads,
    numKvHeads,
    headDim,
    intermediateSize: metadata.int(key("feed_forward_length"), 1, MODEL_BOUNDS.maxIntermediateSize) ?? 0,
    vocabSize: readVocabSize(metadata, prefix, tensors),
    maxPositions,
    rmsNormEps: eps,
    rope,
    layerWindow: new Array<number>(numLayers).fill(window),
    tiedEmbeddings: !tensors.has("output.weight"),
    qkvBias: architecture.qkvBias === "config" ? tensors.has("blk.0.attn_q.bias") : architecture.qkvBias,
    oBias: architecture.oBias === "config" && tensors.has("blk.0.attn_output.bias"),
    qkNorm: architecture.qkNorm,
    experts: expertCount > 0 ? readExperts(metadata, prefix, expertCount, numLayers, tensors) : undefined,
  };
}

function readHeadDim(metadata: Metadata, prefix: string, hiddenSize: number, numHeads: number): number {
  const lengthKey = `${prefix}.attention.key_length`;
  const headDim = metadata.int(lengthKey, 2, MODEL_BOUNDS.maxHeadDim) ?? hiddenSize / numHeads;
  if (!Number.isInteger(headDim) || headDim % 2 !== 0 || headDim > MODEL_BOUNDS.maxHeadDim) {
    throw metadata.error(lengthKey, `a head of ${headDim} is not an even number up to ${MODEL_BOUNDS.maxHeadDim}`);
  }
  for (const name of ["attention.value_length", "rope.dimension_count"]) {
    const value = metadata.int(`${prefix}.${name}`, 1, MODEL_BOUNDS.maxHeadDim) ?? headDim;
    if (value !== headDim) {
      throw metadata.error(`${prefix}.${name}`, `is ${value}; only the head's own ${headDim} is supported`);
    }
  }
  return headDim;
}

function readVocabSize(metadata: Metadata, prefix: string, tensors: ReadonlyMap<string, StoredTensor>): number {
  const embedding = tensors.get("token_embd.weight");
  const rows = embedding?.shape[0];
  if (rows === undefined) throw new ModelError(metadata.file, "token_embd.weight", "is missing");
  if (rows > MODEL_BOUNDS.maxVocabSize) {
    throw new ModelError(
      metadata.file,
      "token_embd.weight",
      `has ${rows} rows, more than ${MODEL_BOUNDS.maxVocabSize}`,
    );
  }
  const declared = metadata.int(`${prefix}.vocab_size`, 1, MODEL_BOUNDS.maxVocabSize) ?? rows;
  if (declared !== rows) {
    throw metadata.error(`${prefix}.vocab_size`, `is ${declared}, but token_embd.weight has ${rows} rows`);
  }
  return rows;
}

function readExperts(
  metadata: Metadata,
  prefix: string,
  count: number,
  numLayers: number,
  tensors: ReadonlyMap<string, StoredTensor>,
): ExpertConfig {
  const sizeKey = `${prefix}.expert_feed_forward_length`;
  const intermediateSize =
    metadata.int(sizeKey, 1, MODEL_BOUNDS.maxIntermediateSize) ??
    metadata.requiredInt(`${prefix}.feed_forward_length`, 1, MODEL_BOUNDS.maxIntermediateSize);
  return {
    count,
    perToken: metadata.requiredInt(`${prefix}.expert_used_count`, 1, count),
    intermediateSize,
    normTopkProb: metadata.bool(`${prefix}.expert_weights_norm`) ?? true,
    layers: Array.from({ length: numLayers }, (_, layer) => tensors.has(`blk.${layer}.ffn_gate_inp.weight`)),
  };
}
