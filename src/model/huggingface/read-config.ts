import { ARCHITECTURE_NAMES, ARCHITECTURES, type Architecture } from "../architectures.ts";
import type { JsonFields } from "../json-fields.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import type { ExpertConfig, ModelConfig } from "../model-config.ts";
import { readRope } from "./read-rope.ts";

/** Fields that change the arithmetic in ways the forward pass does not have, with the values that change nothing. */
const NEUTRAL_VALUES: ReadonlyArray<readonly [string, readonly unknown[]]> = [
  ["hidden_act", ["silu", "swish"]],
  ["mlp_bias", [false]],
  ["partial_rotary_factor", [1]],
  ["attn_logit_softcapping", []],
  ["final_logit_softcapping", []],
  ["query_pre_attn_scalar", []],
  ["attention_multiplier", []],
  ["logits_scaling", [1]],
  ["logit_scale", [1]],
  ["residual_multiplier", [1]],
  ["embedding_multiplier", [1]],
  ["shared_expert_intermediate_size", [0]],
  ["scoring_func", ["softmax"]],
];

/** Reads config.json, in its old and new spellings, of one of the supported architectures. Throws ModelError. */
export function readConfig(json: JsonFields): ModelConfig {
  const architecture = readArchitecture(json);
  for (const [field, neutral] of NEUTRAL_VALUES) {
    const value = json.raw(field) ?? undefined;
    if (value === undefined || neutral.includes(value)) continue;
    throw json.error(field, `is ${JSON.stringify(value)}, a feature that is not supported`);
  }
  const { defaults } = architecture;
  const hiddenSize = json.requiredInt("hidden_size", 1, MODEL_BOUNDS.maxHiddenSize);
  const numLayers = json.requiredInt("num_hidden_layers", 1, MODEL_BOUNDS.maxLayers);
  const numHeads = json.requiredInt("num_attention_heads", 1, MODEL_BOUNDS.maxHeads);
  const maxPositions = json.int("max_position_embeddings", 1, MODEL_BOUNDS.maxPositions) ?? defaults.maxPositions;
  const attentionBias = json.bool("attention_bias") ?? false;
  const eps = json.number("rms_norm_eps") ?? defaults.rmsNormEps;
  if (eps <= 0 || eps >= 1) throw json.error("rms_norm_eps", `is ${eps}, not between 0 and 1`);
  const { rope, extendedPositions } = readRope(json, maxPositions, defaults.ropeTheta);
  return {
    architecture,
    numLayers,
    hiddenSize,
    numHeads,
    numKvHeads: readKvHeads(json, architecture, numHeads),
    headDim: readHeadDim(json, architecture, hiddenSize, numHeads),
    intermediateSize: json.requiredInt("intermediate_size", 1, MODEL_BOUNDS.maxIntermediateSize),
    vocabSize: json.requiredInt("vocab_size", 1, MODEL_BOUNDS.maxVocabSize),
    maxPositions: extendedPositions,
    rmsNormEps: eps,
    rope,
    layerWindow: readWindows(json, architecture, numLayers),
    tiedEmbeddings: json.bool("tie_word_embeddings") ?? false,
    qkvBias: architecture.qkvBias === "config" ? attentionBias : architecture.qkvBias,
    oBias: architecture.oBias === "config" && attentionBias,
    qkNorm: architecture.qkNorm,
    experts: readExperts(json, architecture, numLayers),
  };
}

function readArchitecture(json: JsonFields): Architecture {
  const modelType = json.string("model_type");
  const architecture = ARCHITECTURES.find(({ name }) => name === modelType);
  if (architecture === undefined) {
    throw json.error("model_type", `is ${modelType ?? "missing"}; supported are ${ARCHITECTURE_NAMES}`);
  }
  const classes = json.strings("architectures");
  if (classes !== undefined && !classes.includes(architecture.className)) {
    throw json.error(
      "architectures",
      `is ${classes.join(", ")}; supported for ${modelType} is ${architecture.className}`,
    );
  }
  return architecture;
}

function readKvHeads(json: JsonFields, { defaults }: Architecture, numHeads: number): number {
  // null means one key head a query head; leaving the field out means the class's own default.
  const absent = json.raw("num_key_value_heads") === undefined && defaults.numKvHeads !== "num_attention_heads";
  const fallback = absent ? (defaults.numKvHeads as number) : numHeads;
  const numKvHeads = json.int("num_key_value_heads", 1, numHeads) ?? fallback;
  if (numHeads % numKvHeads !== 0) {
    throw json.error("num_key_value_heads", `is ${numKvHeads}, which does not divide ${numHeads} heads`);
  }
  return numKvHeads;
}

function readHeadDim(json: JsonFields, { defaults }: Architecture, hiddenSize: number, numHeads: number): number {
  const fallback = json.raw("head_dim") === undefined ? defaults.headDim : undefined;
  const headDim = json.int("head_dim", 2, MODEL_BOUNDS.maxHeadDim) ?? fallback ?? hiddenSize / numHeads;
  if (!Number.isInteger(headDim) || headDim % 2 !== 0 || headDim > MODEL_BOUNDS.maxHeadDim) {
    throw json.error("head_dim", `a head of ${headDim} is not an even number up to ${MODEL_BOUNDS.maxHeadDim}`);
  }
  return headDim;
}

function readWindows(json: JsonFields, architecture: Architecture, numLayers: number): number[] {
  const given = json.raw("sliding_window") === undefined ? architecture.defaults.slidingWindow : null;
  const size = json.int("sliding_window", 1, MODEL_BOUNDS.maxPositions) ?? given ?? 0;
  const used = json.bool("use_sliding_window") ?? false;
  const types = json.strings("layer_types");
  if (types !== undefined && types.length !== numLayers) {
    throw json.error("layer_types", `has ${types.length} entries for ${numLayers} layers`);
  }
  const firstWindowed = json.int("max_window_layers", 0, MODEL_BOUNDS.maxLayers) ?? 28;
  const windowOf = (layer: number): number => {
    if (architecture.window === "none") return 0;
    if (architecture.window === "all") return size;
    if (architecture.window === "all-if-used") return used ? size : 0;
    const type = types?.[layer] ?? (used && layer >= firstWindowed ? "sliding_attention" : "full_attention");
    if (type === "full_attention") return 0;
    if (type !== "sliding_attention") throw json.error("layer_types", `has the unknown kind ${type}`);
    if (!used || size === 0) throw json.error("layer_types", "has sliding_attention, but sliding_window is off");
    return size;
  };
  return Array.from({ length: numLayers }, (_, layer) => windowOf(layer));
}

function readExperts(json: JsonFields, { experts }: Architecture, numLayers: number): ExpertConfig | undefined {
  if (experts === undefined) return undefined;
  const countField = json.raw("num_local_experts") === undefined ? "num_experts" : "num_local_experts";
  const count = json.requiredInt(countField, 1, MODEL_BOUNDS.maxExperts);
  const step = json.int("decoder_sparse_step", 1, MODEL_BOUNDS.maxLayers) ?? 1;
  const denseLayers = json.list("mlp_only_layers") ?? [];
  return {
    count,
    perToken: json.requiredInt("num_experts_per_tok", 1, count),
    intermediateSize: json.requiredInt(experts.sizeField, 1, MODEL_BOUNDS.maxIntermediateSize),
    normTopkProb: experts.normTopkProb === true || (json.bool("norm_topk_prob") ?? false),
    layers: Array.from({ length: numLayers }, (_, layer) => !denseLayers.includes(layer) && (layer + 1) % step === 0),
  };
}
