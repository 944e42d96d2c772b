/**
 * The supported architectures as data. A new one that fits these flags is one more entry: the native forward pass tests
 * flags, never names. Defaults are those of transformers' configuration classes, which config.json may leave out.
 */
export interface Architecture {
  /** model_type in config.json. */
  readonly name: string;
  /** `architectures` in config.json; other heads (classification, rewards) have other weights. */
  readonly className: string;
  /** general.architecture in GGUF metadata. */
  readonly ggufName: string;
  /** Bias on q, k, v, and on o; "config": as attention_bias says. */
  readonly qkvBias: boolean | "config";
  readonly oBias: boolean | "config";
  /** RMS norm on q and k. */
  readonly qkNorm: boolean;
  /** Which layers have a sliding window: none; all where sliding_window is a number; those that use_sliding_window says. */
  readonly window: "none" | "all" | "all-if-used" | "upper-if-used";
  /** GGUF converters interleave the rotary pairs of q and k (ropeHeads in WeightTensor). */
  readonly ggufInterleavesRope: boolean;
  readonly experts: ExpertNaming | undefined;
  readonly defaults: {
    readonly numKvHeads: number | "num_attention_heads";
    /** undefined: hidden_size / num_attention_heads. */
    readonly headDim: number | undefined;
    readonly rmsNormEps: number;
    readonly ropeTheta: number;
    readonly slidingWindow: number | null;
    readonly maxPositions: number;
  };
}

export interface ExpertNaming {
  /** The block's name within a layer, and its matrices' names within an expert. */
  readonly block: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
  /** Weights of the chosen experts divided by their sum: always, or as norm_topk_prob says. */
  readonly normTopkProb: true | "config";
  /** The config field of an expert's inner size. */
  readonly sizeField: "intermediate_size" | "moe_intermediate_size";
}

const LLAMA: Architecture = {
  name: "llama",
  className: "LlamaForCausalLM",
  ggufName: "llama",
  qkvBias: "config",
  oBias: "config",
  qkNorm: false,
  window: "none",
  ggufInterleavesRope: true,
  experts: undefined,
  defaults: {
    numKvHeads: "num_attention_heads",
    headDim: undefined,
    rmsNormEps: 1e-6,
    ropeTheta: 10_000,
    slidingWindow: null,
    maxPositions: 2048,
  },
};

const MISTRAL: Architecture = {
  ...LLAMA,
  name: "mistral",
  className: "MistralForCausalLM",
  qkvBias: false,
  oBias: false,
  window: "all",
  defaults: { ...LLAMA.defaults, numKvHeads: 8, slidingWindow: 4096, maxPositions: 131_072 },
};

const MIXTRAL: Architecture = {
  ...MISTRAL,
  name: "mixtral",
  className: "MixtralForCausalLM",
  experts: {
    block: "block_sparse_moe",
    gate: "w1",
    up: "w3",
    down: "w2",
    normTopkProb: true,
    sizeField: "intermediate_size",
  },
  defaults: { ...MISTRAL.defaults, rmsNormEps: 1e-5, ropeTheta: 1_000_000, slidingWindow: null },
};

const QWEN2: Architecture = {
  ...LLAMA,
  name: "qwen2",
  className: "Qwen2ForCausalLM",
  ggufName: "qwen2",
  qkvBias: true,
  oBias: false,
  window: "upper-if-used",
  ggufInterleavesRope: false,
  defaults: { ...LLAMA.defaults, numKvHeads: 32, slidingWindow: 4096, maxPositions: 32_768 },
};

const QWEN3: Architecture = {
  ...QWEN2,
  name: "qwen3",
  className: "Qwen3ForCausalLM",
  ggufName: "qwen3",
  qkvBias: "config",
  oBias: "config",
  qkNorm: true,
  defaults: { ...QWEN2.defaults, headDim: 128 },
};

const QWEN3_MOE: Architecture = {
  ...QWEN3,
  name: "qwen3_moe",
  className: "Qwen3MoeForCausalLM",
  ggufName: "qwen3moe",
  window: "all-if-used",
  experts: {
    block: "mlp",
    gate: "gate_proj",
    up: "up_proj",
    down: "down_proj",
    normTopkProb: "config",
    sizeField: "moe_intermediate_size",
  },
  defaults: { ...QWEN3.defaults, numKvHeads: 4, headDim: undefined },
};

export const ARCHITECTURES: readonly Architecture[] = [LLAMA, MISTRAL, MIXTRAL, QWEN2, QWEN3, QWEN3_MOE];

export const ARCHITECTURE_NAMES = ARCHITECTURES.map((architecture) => architecture.name).join(", ");

/** GGUF names mixtral "llama" too: there experts tell them apart. Mistral is read as llama, whose weights it shares. */
export function ggufArchitecture(name: string, hasExperts: boolean): Architecture | undefined {
  return ARCHITECTURES.find(
    (architecture) => architecture.ggufName === name && (architecture.experts !== undefined) === hasExperts,
  );
}
