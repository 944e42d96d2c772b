import type { SamplingParams } from "../core/sampling-params.ts";
import type { SamplingDefaults } from "./sampling-defaults.ts";

/**
 * An architecture as data: what the native forward pass tests are these numbers and flags, never a model's name.
 * Field meanings are those of sl_model_desc in kernels/include/scalellm.h.
 */
export interface ModelSpec {
  /** For people: "llama", "qwen3_moe". */
  readonly architecture: string;
  readonly numLayers: number;
  readonly hiddenSize: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly vocabSize: number;
  /** The longest context the checkpoint supports. */
  readonly maxPositions: number;
  /** 0: dense. */
  readonly numExperts: number;
  readonly expertsPerToken: number;
  readonly moeIntermediateSize: number;
  readonly rmsNormEps: number;
  /** [headDim / 2], rope scaling applied. */
  readonly ropeInvFreq: Float32Array;
  readonly ropeAttentionFactor: number;
  /** [numLayers], 0: full attention. */
  readonly layerWindow: Int32Array;
  readonly qkNorm: boolean;
  readonly normTopkProb: boolean;
}

/** Mirrors sl_tensor; enums are the names of SL_ROLE_*, SL_* dtypes and SL_SCALE_* in backend/abi.ts. */
export interface WeightTensor {
  readonly role: WeightRole;
  readonly layer: number;
  readonly expert: number;
  readonly dtype: WeightDtype;
  readonly rows: number;
  readonly cols: number;
  /** Absolute byte offset in paths[file]. */
  readonly offset: number;
  readonly numBytes: number;
  readonly file: number;
  /** > 0 where q or k rows hold rotary pairs interleaved within each of this many heads (GGUF's llama). */
  readonly ropeHeads: number;
  readonly scale: WeightScale | undefined;
}

export interface WeightScale {
  readonly kind: "tensor" | "row" | "block";
  readonly dtype: "f32" | "bf16";
  readonly offset: number;
  readonly numBytes: number;
  readonly file: number;
  readonly blockRows: number;
  readonly blockCols: number;
}

export const WEIGHT_ROLES = [
  "embed",
  "lm_head",
  "final_norm",
  "attn_norm",
  "ffn_norm",
  "q",
  "k",
  "v",
  "o",
  "q_bias",
  "k_bias",
  "v_bias",
  "o_bias",
  "q_norm",
  "k_norm",
  "gate",
  "up",
  "down",
  "router",
  "expert_gate",
  "expert_up",
  "expert_down",
] as const; // index = SL_ROLE_*
export type WeightRole = (typeof WEIGHT_ROLES)[number];

export const WEIGHT_DTYPES = [
  "f32",
  "f16",
  "bf16",
  "f8_e4m3",
  "q8_0",
  "q4_0",
  "q4_1",
  "q5_0",
  "q5_1",
  "q4_k",
  "q5_k",
  "q6_k",
] as const; // index = SL_F32 ...
export type WeightDtype = (typeof WEIGHT_DTYPES)[number];

/** Everything the native loader needs. Plain data: it is posted to the engine Worker. */
export interface LoadPlan {
  readonly spec: ModelSpec;
  readonly paths: readonly string[];
  readonly tensors: readonly WeightTensor[];
}

/** What the text side needs. Plain data: it is posted to the tokenizer Worker. */
export interface TextSource {
  /** tokenizer.json as text, or a tokenizer description read from GGUF metadata. */
  readonly tokenizer: TokenizerJson | GgufTokenizer;
  /** Jinja source; undefined where the model has no chat template. */
  readonly chatTemplate: string | undefined;
  /** Further templates by name, such as "tool_use". */
  readonly namedTemplates?: Readonly<Record<string, string>>;
  /** Texts of special tokens by the name that templates use: bos_token, eos_token, unk_token, pad_token. */
  readonly specialTokens?: Readonly<Record<string, string>>;
  /** Ids that end a generation, from generation_config, config and metadata, merged. */
  readonly eosTokenIds: readonly number[];
  readonly bosTokenId: number | undefined;
}

export interface TokenizerJson {
  readonly kind: "tokenizer_json";
  readonly json: string;
  /** tokenizer_config.json as text, "{}" when absent. */
  readonly config: string;
}

export interface GgufTokenizer {
  readonly kind: "gguf";
  /** tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE with byte fallback). */
  readonly model: string;
  /** tokenizer.ggml.pre, such as "smollm", "llama-bpe", "qwen2", "gpt-2". */
  readonly pre: string | undefined;
  readonly tokens: readonly string[];
  /** tokenizer.ggml.token_type: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte. */
  readonly tokenTypes: Int32Array;
  /** For "llama". */
  readonly scores: Float32Array | undefined;
  /** For "gpt2": "a b" pairs. */
  readonly merges: readonly string[] | undefined;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly addBos: boolean;
  readonly addEos: boolean;
  readonly addSpacePrefix: boolean;
}

/** A checkpoint that has been opened and checked: a GGUF file or a Hugging Face folder. */
export interface OpenedModel {
  /** A name to serve it under: general.name or the folder, lower-cased. */
  readonly name: string;
  readonly plan: LoadPlan;
  readonly text: TextSource;
  /** From generation_config.json or general.sampling.*, where given. */
  readonly generationDefaults: Readonly<SamplingDefaults>;
  /** For a request that names no temperature, where this model is known to need it. The checkpoint's own values come first. */
  readonly recommendedSampling?: Readonly<Partial<SamplingParams>>;
  /** What the checkpoint says and is not followed, for people. */
  readonly warnings: readonly string[];
  /** Bytes of weights in the files. */
  readonly fileBytes: number;
  /** For people: "Q4_1", "BF16", "F8_E4M3". */
  readonly quantization: string;
}
