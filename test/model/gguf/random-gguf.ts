// Checkpoints of random weights in the shapes and the storage types that llama.cpp's converter gives real ones, for
// speed and for the distance of kernels from float32. A file is a function of its shape alone.
import { FileSource } from "../../../src/model/file-source.ts";
import { GGML_TYPES } from "../../../src/model/gguf/ggml-types.ts";
import { readGguf } from "../../../src/model/gguf/read-gguf.ts";
import type { WeightDtype } from "../../../src/model/spec.ts";
import {
  blockBytes,
  blockValues,
  type Random,
  random,
  randomWeights,
  weightValues,
} from "../../kernels/gguf-blocks.ts";
import { Dtype } from "../../kernels/library.ts";
import { type GgufTensorSpec, type GgufValue, writeGgufFile } from "./gguf-writer.ts";

const TOKENIZER_SOURCE = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
const TOKENIZER_KEYS = [
  ...["model", "pre", "tokens", "token_type", "merges", "add_space_prefix", "add_bos_token"].map(
    (key) => `ggml.${key}`,
  ),
  ...["bos", "eos", "unknown", "padding"].map((token) => `ggml.${token}_token_id`),
  "chat_template",
].map((key) => `tokenizer.${key}`);

/** Sizes are multiples of 256, a super-block, where K types store them. */
export interface RandomShape {
  /** general.architecture; "llama" with experts is Mixtral. */
  readonly architecture: "llama" | "qwen3moe";
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Of the feed-forward block, or of one expert. */
  readonly inner: number;
  readonly experts?: { readonly count: number; readonly used: number };
  /**
   * Q4_K_M: Q4_K, with Q5_K, Q6_K and Q8_0 where llama.cpp's mixture has them. Q4_0: every matrix but the output's, which
   * is Q8_0. Q8_0: every matrix.
   */
  readonly quantization: "Q4_K_M" | "Q4_0" | "Q8_0";
  /** Most values drawn for a storage type and row length: what is longer repeats them. Default: all values are drawn. */
  readonly drawn?: number;
}

/** LLAMA_FTYPE_*: OpenVINO reads no file without it. */
const FILE_TYPES = { Q4_0: 2, Q8_0: 7, Q4_K_M: 15 } as const;

/** 470 M parameters, 120 M of them used by a token. */
const QWEN3_MOE = {
  architecture: "qwen3moe",
  layers: 8,
  hidden: 1024,
  heads: 16,
  kvHeads: 4,
  headDim: 64,
  inner: 512,
  experts: { count: 32, used: 4 },
} as const;

/** Small models of the kinds that people run; on the way to speed their size matters less than their shapes. */
export const RANDOM_SHAPES = {
  // 240 M parameters.
  "llama-q4_k": {
    architecture: "llama",
    layers: 16,
    hidden: 1024,
    heads: 16,
    kvHeads: 8,
    headDim: 64,
    inner: 2816,
    quantization: "Q4_K_M",
  },
  // The bundled model's sizes in a type that llama.cpp repacks.
  "smollm2-q4_0": {
    architecture: "llama",
    layers: 30,
    hidden: 576,
    heads: 9,
    kvHeads: 3,
    headDim: 64,
    inner: 1536,
    quantization: "Q4_0",
  },
  "qwen3moe-q4_k": { ...QWEN3_MOE, quantization: "Q4_K_M" },
  "qwen3moe-q8_0": { ...QWEN3_MOE, quantization: "Q8_0" },
  // 420 M parameters, 160 M of them used by a token.
  "mixtral-q4_k": {
    architecture: "llama",
    layers: 8,
    hidden: 1024,
    heads: 16,
    kvHeads: 4,
    headDim: 64,
    inner: 1792,
    experts: { count: 8, used: 2 },
    quantization: "Q4_K_M",
  },
} as const satisfies Record<string, RandomShape>;

/** What people run, in full size: for speed alone, since reading and multiplying take as long whatever the weights. */
export const LARGE_SHAPES = {
  // 1.1 G parameters, 670 MB, with Llama 3.2 1B's layers.
  "llama-1b-q4_k": {
    architecture: "llama",
    layers: 16,
    hidden: 2048,
    heads: 32,
    kvHeads: 8,
    headDim: 64,
    inner: 8192,
    quantization: "Q4_K_M",
    drawn: 1 << 22,
  },
  // 7.2 G parameters, 4.3 GB, with Mistral 7B's layers.
  "mistral-7b-q4_k": {
    architecture: "llama",
    layers: 32,
    hidden: 4096,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    inner: 14_336,
    quantization: "Q4_K_M",
    drawn: 1 << 22,
  },
} as const satisfies Record<string, RandomShape>;

/** Writes a checkpoint with the bundled model's tokenizer, and so its vocabulary. */
export function writeRandomGguf(path: string, shape: RandomShape): void {
  const tokenizer = tokenizerMetadata();
  const vocab = (tokenizer["tokenizer.ggml.tokens"] as { strings: readonly string[] }).strings.length;
  const metadata = {
    "general.architecture": { string: shape.architecture },
    "general.file_type": { u32: FILE_TYPES[shape.quantization] },
    "general.quantization_version": { u32: 2 },
    ...numbers(shape),
    ...tokenizer,
  };
  writeGgufFile(path, { metadata, tensors: tensorsOf(shape, vocab) });
}

function numbers({ architecture, ...shape }: RandomShape): Record<string, GgufValue> {
  const keys: Record<string, GgufValue> = {
    block_count: { u32: shape.layers },
    context_length: { u32: 8192 },
    embedding_length: { u32: shape.hidden },
    feed_forward_length: { u32: shape.inner },
    "attention.head_count": { u32: shape.heads },
    "attention.head_count_kv": { u32: shape.kvHeads },
    "attention.key_length": { u32: shape.headDim },
    "attention.value_length": { u32: shape.headDim },
    "attention.layer_norm_rms_epsilon": { f32: 1e-5 },
    "rope.dimension_count": { u32: shape.headDim },
    "rope.freq_base": { f32: 1e6 },
    ...(shape.experts !== undefined && {
      expert_count: { u32: shape.experts.count },
      expert_used_count: { u32: shape.experts.used },
      expert_feed_forward_length: { u32: shape.inner },
    }),
  };
  return Object.fromEntries(Object.entries(keys).map(([key, value]) => [`${architecture}.${key}`, value]));
}

function tokenizerMetadata(): Record<string, GgufValue> {
  const source = new FileSource(TOKENIZER_SOURCE);
  const { metadata } = readGguf(source, 0);
  source.close();
  return Object.fromEntries(
    TOKENIZER_KEYS.map((key): [string, GgufValue] => {
      const value = metadata.raw(key);
      if (typeof value === "string") return [key, { string: value }];
      if (typeof value === "number") return [key, { u32: value }];
      if (typeof value === "boolean") return [key, { bool: value }];
      if (value instanceof Int32Array) return [key, { i32s: [...value] }];
      return [key, { strings: metadata.strings(key)! }];
    }),
  );
}

function tensorsOf(shape: RandomShape, vocab: number): GgufTensorSpec[] {
  const next = random(1);
  const { layers, hidden, heads, kvHeads, headDim, inner, experts } = shape;
  const queries = heads * headDim;
  const keys = kvHeads * headDim;
  const norm = (name: string, size: number) => normTensor(name, size, next);
  const pool = new WeightPool(next, shape.drawn ?? Number.POSITIVE_INFINITY);
  const matrix = (name: string, type: WeightDtype, ...sizes: number[]) => matrixTensor(name, type, sizes, pool);
  const tensors = [
    // Tied embeddings have the type of an output matrix.
    matrix("token_embd.weight", storageType(shape, "output", 0), vocab, hidden),
    norm("output_norm.weight", hidden),
  ];
  for (let layer = 0; layer < layers; layer++) {
    const at = (name: string) => `blk.${layer}.${name}.weight`;
    const type = (name: string) => storageType(shape, name, layer);
    tensors.push(
      norm(at("attn_norm"), hidden),
      matrix(at("attn_q"), type("attn_q"), queries, hidden),
      matrix(at("attn_k"), type("attn_k"), keys, hidden),
      matrix(at("attn_v"), type("attn_v"), keys, hidden),
      matrix(at("attn_output"), type("attn_output"), hidden, queries),
      norm(at("ffn_norm"), hidden),
    );
    if (shape.architecture === "qwen3moe") {
      tensors.push(norm(at("attn_q_norm"), headDim), norm(at("attn_k_norm"), headDim));
    }
    if (experts !== undefined) tensors.push(matrix(at("ffn_gate_inp"), "f32", experts.count, hidden));
    const suffix = experts === undefined ? "" : "_exps";
    const stack = experts === undefined ? [] : [experts.count];
    tensors.push(
      matrix(at(`ffn_gate${suffix}`), type("ffn_gate"), ...stack, inner, hidden),
      matrix(at(`ffn_up${suffix}`), type("ffn_up"), ...stack, inner, hidden),
      matrix(at(`ffn_down${suffix}`), type("ffn_down"), ...stack, hidden, inner),
    );
  }
  return tensors;
}

/** llama_tensor_get_type of llama.cpp's quantiser, for LLAMA_FTYPE_MOSTLY_Q4_K_M and simpler ones. */
function storageType({ quantization, layers, experts }: RandomShape, name: string, layer: number): WeightDtype {
  if (quantization === "Q8_0") return "q8_0";
  if (quantization === "Q4_0") return name === "output" ? "q8_0" : "q4_0";
  const eighth = Math.floor(layers / 8);
  const useMoreBits = layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
  const isMixtral = experts?.count === 8;
  switch (name) {
    case "output":
      return "q6_k";
    case "attn_v":
      if (isMixtral) return "q8_0";
      return useMoreBits ? "q6_k" : "q4_k";
    case "attn_k":
      return isMixtral ? "q8_0" : "q4_k";
    case "attn_output":
      return isMixtral ? "q5_k" : "q4_k";
    case "ffn_down":
      return useMoreBits ? "q6_k" : "q4_k";
    default:
      return "q4_k";
  }
}

function normTensor(name: string, size: number, next: Random): GgufTensorSpec {
  const pieces = () => [new Uint8Array(Float32Array.from({ length: size }, () => 0.5 + next()).buffer)];
  return { name, shape: [size], type: 0, numBytes: 4 * size, pieces };
}

/** Weights of root mean square 1 / sqrt(cols), so that a product is about as large as what goes in. */
function matrixTensor(name: string, dtype: WeightDtype, shape: number[], pool: WeightPool): GgufTensorSpec {
  const number = Dtype[dtype.toUpperCase() as keyof typeof Dtype];
  const [type] = [...GGML_TYPES].find(([, ggml]) => ggml.dtype === dtype)!;
  const values = shape.reduce((product, size) => product * size, 1);
  return { name, shape, type, ...pool.take(number, values, shape.at(-1)!) };
}

/** Random weights, drawn when they are written. */
class WeightPool {
  readonly #next: Random;
  readonly #most: number;
  readonly #drawn = new Map<string, Uint8Array>();

  /** Matrices of more values than `most` share what is drawn for their type and row length. */
  constructor(next: Random, most: number) {
    this.#next = next;
    this.#most = most;
  }

  take(dtype: number, values: number, cols: number): { numBytes: number; pieces: () => Iterable<Uint8Array> } {
    const numBytes = (values / blockValues(dtype)) * blockBytes(dtype);
    const draw = (count: number) => randomWeights(dtype, count, this.#next, unitScale(dtype) / Math.sqrt(cols));
    const pieces = () => {
      if (values <= this.#most) return [draw(values)];
      const key = `${dtype} ${cols}`;
      const drawn = this.#drawn.get(key) ?? draw(this.#most);
      this.#drawn.set(key, drawn);
      return repeated(drawn, numBytes);
    };
    return { numBytes, pieces };
  }
}

function* repeated(bytes: Uint8Array, numBytes: number): Generator<Uint8Array> {
  for (let at = 0; at < numBytes; at += bytes.length) yield bytes.subarray(0, numBytes - at);
}

/** The scale that makes the root mean square of a type's random weights 1; types without scales do not use it. */
function unitScale(dtype: number): number {
  const trial = 2 ** -8;
  const sample = weightValues(dtype, randomWeights(dtype, 1 << 16, random(2), trial));
  return trial / Math.sqrt(sample.reduce((sum, value) => sum + value * value, 0) / sample.length);
}
