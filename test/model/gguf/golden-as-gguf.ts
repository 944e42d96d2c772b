import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openModel } from "../../../src/model/open-model.ts";
import type { ModelSpec, WeightRole, WeightTensor } from "../../../src/model/spec.ts";
import { type GgufTensorSpec, type GgufValue, writeGguf } from "./gguf-writer.ts";
import { TOKENIZER } from "./tiny-gguf.ts";

const BF16 = 30;
const F32 = 0;

const NAMES: Partial<Record<WeightRole, string>> = {
  embed: "token_embd.weight",
  lm_head: "output.weight",
  final_norm: "output_norm.weight",
  attn_norm: "attn_norm.weight",
  ffn_norm: "ffn_norm.weight",
  q: "attn_q.weight",
  k: "attn_k.weight",
  v: "attn_v.weight",
  o: "attn_output.weight",
  q_bias: "attn_q.bias",
  k_bias: "attn_k.bias",
  v_bias: "attn_v.bias",
  o_bias: "attn_output.bias",
  q_norm: "attn_q_norm.weight",
  k_norm: "attn_k_norm.weight",
  gate: "ffn_gate.weight",
  up: "ffn_up.weight",
  down: "ffn_down.weight",
  router: "ffn_gate_inp.weight",
  expert_gate: "ffn_gate_exps.weight",
  expert_up: "ffn_up_exps.weight",
  expert_down: "ffn_down_exps.weight",
};

/**
 * Writes a golden's bf16 checkpoint as a GGUF file, as llama.cpp's converter does: other names, experts stacked, q and k of
 * llama interleaved, llama3's scaling as a tensor. An independent description of the format, to check the reader by.
 */
export function writeGoldenAsGguf(folder: string, path: string, rope: Record<string, GgufValue | number[]> = {}): void {
  const { spec, tensors } = openModel(folder).plan;
  const file = readFileSync(join(folder, "model.safetensors"));
  const architecture =
    { mistral: "llama", mixtral: "llama", qwen3_moe: "qwen3moe" }[spec.architecture] ?? spec.architecture;
  const { rope_freqs: divisors, ...ropeKeys } = rope;
  const metadata: Record<string, GgufValue> = {
    "general.architecture": { string: architecture },
    ...TOKENIZER,
    ...Object.fromEntries(Object.entries(numbers(spec)).map(([key, value]) => [`${architecture}.${key}`, value])),
    ...Object.fromEntries(
      Object.entries(ropeKeys).map(([key, value]) => [`${architecture}.rope.${key}`, value as GgufValue]),
    ),
  };
  const stored = new Map<string, GgufTensorSpec & { data: Buffer }>();
  for (const tensor of tensors) {
    const name = `${tensor.layer < 0 ? "" : `blk.${tensor.layer}.`}${NAMES[tensor.role]!}`;
    const data = dataOf(file, tensor, spec, architecture === "llama");
    const stack = stored.get(name);
    if (stack !== undefined) {
      stack.data = Buffer.concat([stack.data, data]);
      stack.numBytes += data.length;
      continue;
    }
    const shape = tensor.expert >= 0 ? [spec.numExperts, tensor.rows, tensor.cols] : shapeOf(tensor);
    stored.set(name, { name, shape, type: BF16, numBytes: data.length, data });
  }
  if (Array.isArray(divisors)) {
    const data = Buffer.from(Float32Array.from(divisors).buffer);
    stored.set("rope_freqs.weight", {
      name: "rope_freqs.weight",
      shape: [divisors.length],
      type: F32,
      numBytes: data.length,
      data,
    });
  }
  writeFileSync(path, writeGguf({ metadata, tensors: [...stored.values()] }).bytes);
}

function numbers(spec: ModelSpec): Record<string, GgufValue> {
  const window = spec.layerWindow[0]!;
  return {
    block_count: { u32: spec.numLayers },
    context_length: { u32: spec.maxPositions },
    embedding_length: { u32: spec.hiddenSize },
    feed_forward_length: { u32: spec.intermediateSize || spec.moeIntermediateSize },
    "attention.head_count": { u32: spec.numHeads },
    "attention.head_count_kv": { u32: spec.numKvHeads },
    "attention.key_length": { u32: spec.headDim },
    "attention.layer_norm_rms_epsilon": { f32: spec.rmsNormEps },
    ...(window > 0 && { "attention.sliding_window": { u32: window } }),
    ...(spec.numExperts > 0 && {
      expert_count: { u32: spec.numExperts },
      expert_used_count: { u32: spec.expertsPerToken },
      expert_feed_forward_length: { u32: spec.moeIntermediateSize },
    }),
  };
}

function shapeOf({ rows, cols, role }: WeightTensor): number[] {
  return /norm|bias/.test(role) ? [cols] : [rows, cols];
}

/** The tensor's bytes; rows of llama's q and k in the order that the converter gives them. */
function dataOf(file: Buffer, tensor: WeightTensor, spec: ModelSpec, interleave: boolean): Buffer {
  const bytes = file.subarray(tensor.offset, tensor.offset + tensor.numBytes);
  if (!interleave || !/^[qk](_bias)?$/.test(tensor.role)) return bytes;
  const numRows = tensor.rows === 1 ? tensor.cols : tensor.rows;
  const rowBytes = bytes.length / numRows;
  const half = spec.headDim / 2;
  const result = Buffer.alloc(bytes.length);
  for (let row = 0; row < numRows; row++) {
    const head = Math.floor(row / spec.headDim);
    const within = row % spec.headDim;
    const target = head * spec.headDim + 2 * (within % half) + Math.floor(within / half);
    bytes.copy(result, target * rowBytes, row * rowBytes, (row + 1) * rowBytes);
  }
  return result;
}
