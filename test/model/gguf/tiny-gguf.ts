import type { GgufSpec, GgufTensorSpec, GgufValue } from "./gguf-writer.ts";

export const F32 = 0;
export const Q8_0 = 8;

export function f32Tensor(name: string, ...shape: number[]): GgufTensorSpec {
  return { name, shape, type: F32, numBytes: 4 * shape.reduce((product, size) => product * size, 1) };
}

export function q8Tensor(name: string, ...shape: number[]): GgufTensorSpec {
  return { name, shape, type: Q8_0, numBytes: (shape.reduce((product, size) => product * size, 1) / 32) * 34 };
}

export const HIDDEN = 64;
export const HEADS = 4;
export const KV_HEADS = 2;
export const VOCAB = 6;
export const INNER = 96;
const LAYERS = 2;

/** The metadata that a byte-level BPE tokenizer needs. */
export const TOKENIZER: Record<string, GgufValue> = {
  "tokenizer.ggml.model": { string: "gpt2" },
  "tokenizer.ggml.pre": { string: "qwen2" },
  "tokenizer.ggml.tokens": { strings: ["<s>", "a", "b", "ab", "<|im_end|>", "é"] },
  "tokenizer.ggml.token_type": { i32s: [3, 1, 1, 1, 3, 1] },
  "tokenizer.ggml.merges": { strings: ["a b"] },
  "tokenizer.ggml.bos_token_id": { u32: 0 },
  "tokenizer.ggml.eos_token_id": { u32: 0 },
};

export interface TinyOptions {
  architecture: string;
  headDim?: number;
  bias?: boolean;
  qkNorm?: boolean;
  tied?: boolean;
  /** Stacked in one tensor a layer, or (old files) one tensor an expert. */
  experts?: { count: number; used: number; inner: number; stacked: boolean };
  metadata?: Record<string, GgufValue>;
}

/** A whole model of two layers in the shapes of any supported architecture; its weights are zeros. */
export function tinyGguf(options: TinyOptions): GgufSpec {
  const { architecture, headDim = HIDDEN / HEADS, experts } = options;
  const metadata: Record<string, GgufValue> = {
    "general.architecture": { string: architecture },
    "general.name": { string: "Tiny Model 1.5" },
    [`${architecture}.block_count`]: { u32: LAYERS },
    [`${architecture}.context_length`]: { u32: 512 },
    [`${architecture}.embedding_length`]: { u32: HIDDEN },
    [`${architecture}.feed_forward_length`]: { u32: INNER },
    [`${architecture}.attention.head_count`]: { u32: HEADS },
    [`${architecture}.attention.head_count_kv`]: { u32: KV_HEADS },
    [`${architecture}.attention.layer_norm_rms_epsilon`]: { f32: 1e-6 },
    [`${architecture}.rope.freq_base`]: { f32: 1e6 },
    ...TOKENIZER,
  };
  if (options.headDim !== undefined) {
    metadata[`${architecture}.attention.key_length`] = { u32: headDim };
    metadata[`${architecture}.attention.value_length`] = { u32: headDim };
  }
  if (experts !== undefined) {
    metadata[`${architecture}.expert_count`] = { u32: experts.count };
    metadata[`${architecture}.expert_used_count`] = { u32: experts.used };
    metadata[`${architecture}.expert_feed_forward_length`] = { u32: experts.inner };
  }
  const tensors = [f32Tensor("token_embd.weight", VOCAB, HIDDEN), f32Tensor("output_norm.weight", HIDDEN)];
  if (!options.tied) tensors.push(q8Tensor("output.weight", VOCAB, HIDDEN));
  for (let layer = 0; layer < LAYERS; layer++) tensors.push(...layerTensors(`blk.${layer}.`, headDim, options));
  return { metadata: { ...metadata, ...options.metadata }, tensors };
}

function layerTensors(prefix: string, headDim: number, { bias, qkNorm, experts }: TinyOptions): GgufTensorSpec[] {
  const queryRows = HEADS * headDim;
  const kvRows = KV_HEADS * headDim;
  const tensors = [
    f32Tensor(`${prefix}attn_norm.weight`, HIDDEN),
    q8Tensor(`${prefix}attn_q.weight`, queryRows, HIDDEN),
    q8Tensor(`${prefix}attn_k.weight`, kvRows, HIDDEN),
    q8Tensor(`${prefix}attn_v.weight`, kvRows, HIDDEN),
    q8Tensor(`${prefix}attn_output.weight`, HIDDEN, queryRows),
    f32Tensor(`${prefix}ffn_norm.weight`, HIDDEN),
  ];
  if (bias) {
    tensors.push(
      f32Tensor(`${prefix}attn_q.bias`, queryRows),
      f32Tensor(`${prefix}attn_k.bias`, kvRows),
      f32Tensor(`${prefix}attn_v.bias`, kvRows),
    );
  }
  if (qkNorm) {
    tensors.push(f32Tensor(`${prefix}attn_q_norm.weight`, headDim), f32Tensor(`${prefix}attn_k_norm.weight`, headDim));
  }
  if (experts === undefined) {
    tensors.push(
      q8Tensor(`${prefix}ffn_gate.weight`, INNER, HIDDEN),
      q8Tensor(`${prefix}ffn_up.weight`, INNER, HIDDEN),
      q8Tensor(`${prefix}ffn_down.weight`, HIDDEN, INNER),
    );
    return tensors;
  }
  const { count, inner, stacked } = experts;
  tensors.push(f32Tensor(`${prefix}ffn_gate_inp.weight`, count, HIDDEN));
  for (const [name, ...shape] of [
    ["gate", inner, HIDDEN],
    ["up", inner, HIDDEN],
    ["down", HIDDEN, inner],
  ] as const) {
    if (stacked) tensors.push(q8Tensor(`${prefix}ffn_${name}_exps.weight`, count, ...shape));
    else for (let e = 0; e < count; e++) tensors.push(q8Tensor(`${prefix}ffn_${name}.${e}.weight`, ...shape));
  }
  return tensors;
}
