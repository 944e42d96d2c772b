import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { ModelError } from "../../../src/model/model-error.ts";
import { openModel } from "../../../src/model/open-model.ts";
import type { OpenedModel, WeightRole, WeightTensor } from "../../../src/model/spec.ts";
import { TempFolder } from "../temp-folder.ts";
import { type GgufSpec, type GgufValue, writeGguf } from "./gguf-writer.ts";
import { f32Tensor, HEADS, HIDDEN, INNER, KV_HEADS, q8Tensor, type TinyOptions, tinyGguf, VOCAB } from "./tiny-gguf.ts";

function open(spec: GgufSpec): OpenedModel {
  using folder = new TempFolder();
  const path = folder.file("tiny.gguf");
  writeFileSync(path, writeGguf(spec).bytes);
  return openModel(path);
}

function failure(spec: GgufSpec): ModelError {
  try {
    open(spec);
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
  throw new Error("the model was accepted");
}

function find({ plan }: OpenedModel, role: WeightRole, layer = -1, expert = -1): WeightTensor {
  const found = plan.tensors.filter((t) => t.role === role && t.layer === layer && t.expert === expert);
  expect(found).toHaveLength(1);
  return found[0]!;
}

const LLAMA: TinyOptions = { architecture: "llama" };
const llamaWith = (metadata: Record<string, GgufValue>) => tinyGguf({ ...LLAMA, metadata });

test("llama: numbers, names, interleaved rotary pairs", () => {
  const model = open(tinyGguf(LLAMA));
  const { spec } = model.plan;
  expect(model.name).toBe("tiny-model-1.5");
  expect(model.quantization).toBe("Q8_0");
  expect(spec).toMatchObject({
    architecture: "llama",
    numLayers: 2,
    hiddenSize: HIDDEN,
    numHeads: HEADS,
    numKvHeads: KV_HEADS,
    headDim: 16,
    intermediateSize: INNER,
    vocabSize: VOCAB,
    maxPositions: 512,
    numExperts: 0,
    qkNorm: false,
    ropeAttentionFactor: 1,
  });
  expect(spec.rmsNormEps).toBeCloseTo(1e-6, 12);
  expect([...spec.layerWindow]).toEqual([0, 0]);
  expect(find(model, "q", 1)).toMatchObject({ rows: 64, cols: 64, dtype: "q8_0", numBytes: 64 * 68, ropeHeads: HEADS });
  expect(find(model, "k", 0)).toMatchObject({ rows: 32, cols: 64, ropeHeads: KV_HEADS });
  expect(find(model, "v", 0).ropeHeads).toBe(0);
  expect(find(model, "final_norm")).toMatchObject({ rows: 1, cols: HIDDEN, dtype: "f32" });
  expect(find(model, "lm_head")).toMatchObject({ rows: VOCAB, cols: HIDDEN });
});

test("llama with biases, tied embeddings, a sliding window and no named KV heads", () => {
  const spec = tinyGguf({
    ...LLAMA,
    bias: true,
    tied: true,
    metadata: { "llama.attention.sliding_window": { u32: 24 } },
  });
  const model = open(spec);
  expect(find(model, "q_bias", 0)).toMatchObject({ rows: 1, cols: 64, ropeHeads: HEADS });
  expect(find(model, "v_bias", 0).ropeHeads).toBe(0);
  expect(model.plan.tensors.some((tensor) => tensor.role === "lm_head")).toBe(false);
  expect([...model.plan.spec.layerWindow]).toEqual([24, 24]);
});

test("qwen2: biases, rotary pairs as they are", () => {
  const model = open(tinyGguf({ architecture: "qwen2", bias: true, tied: true }));
  expect(model.plan.spec.architecture).toBe("qwen2");
  expect(find(model, "q", 0).ropeHeads).toBe(0);
  expect(find(model, "k_bias", 1)).toMatchObject({ cols: 32, ropeHeads: 0 });
  expect(failure(tinyGguf({ architecture: "qwen2" })).field).toBe("blk.0.attn_q.bias");
});

test("qwen3: head size of its own, q and k norms", () => {
  const model = open(tinyGguf({ architecture: "qwen3", headDim: 32, qkNorm: true }));
  expect(model.plan.spec).toMatchObject({ architecture: "qwen3", headDim: 32, qkNorm: true });
  expect(find(model, "q", 0)).toMatchObject({ rows: 128, cols: 64 });
  expect(find(model, "o", 0)).toMatchObject({ rows: 64, cols: 128 });
  expect(find(model, "k_norm", 1)).toMatchObject({ rows: 1, cols: 32 });
  expect(failure(tinyGguf({ architecture: "qwen3", headDim: 32 })).message).toContain(
    "blk.0.attn_q_norm.weight: is missing",
  );
});

test("mixtral is llama with experts: stacked tensors are split, old files have one each", () => {
  const experts = { count: 4, used: 2, inner: 32, stacked: true };
  const stacked = open(tinyGguf({ ...LLAMA, experts }));
  expect(stacked.plan.spec).toMatchObject({
    architecture: "mixtral",
    numExperts: 4,
    expertsPerToken: 2,
    moeIntermediateSize: 32,
    intermediateSize: 0,
    normTopkProb: true,
  });
  const first = find(stacked, "expert_down", 1, 0);
  expect(first).toMatchObject({ rows: HIDDEN, cols: 32, numBytes: HIDDEN * 34 });
  expect(find(stacked, "expert_down", 1, 3).offset).toBe(first.offset + 3 * first.numBytes);
  expect(find(stacked, "router", 0)).toMatchObject({ rows: 4, cols: HIDDEN });

  const separate = open(tinyGguf({ ...LLAMA, experts: { ...experts, stacked: false } }));
  expect(separate.plan.tensors).toHaveLength(stacked.plan.tensors.length);
  expect(find(separate, "expert_up", 0, 2)).toMatchObject({ rows: 32, cols: HIDDEN });
  expect(separate.plan.spec.numExperts).toBe(4);
});

test("qwen3moe", () => {
  const experts = { count: 8, used: 3, inner: 32, stacked: true };
  const model = open(tinyGguf({ architecture: "qwen3moe", headDim: 32, qkNorm: true, experts }));
  expect(model.plan.spec).toMatchObject({ architecture: "qwen3_moe", numExperts: 8, expertsPerToken: 3, qkNorm: true });
  expect(model.plan.tensors.filter((tensor) => tensor.role === "expert_gate")).toHaveLength(16);
});

test("rope scaling: linear, yarn, llama3's divisors", () => {
  const plain = open(tinyGguf(LLAMA)).plan.spec.ropeInvFreq;
  const scaling = (type: string, more: Record<string, GgufValue> = {}) =>
    llamaWith({ "llama.rope.scaling.type": { string: type }, "llama.rope.scaling.factor": { f32: 4 }, ...more });
  expect([...open(scaling("none")).plan.spec.ropeInvFreq]).toEqual([...plain]);
  expect([...open(scaling("linear")).plan.spec.ropeInvFreq]).toEqual([...plain.map((value) => value / 4)]);
  expect([...open(llamaWith({ "llama.rope.scale_linear": { f32: 2 } })).plan.spec.ropeInvFreq]).toEqual([
    ...plain.map((value) => value / 2),
  ]);
  const yarn = open(scaling("yarn", { "llama.rope.scaling.original_context_length": { u32: 128 } })).plan.spec;
  expect(yarn.ropeAttentionFactor).toBeCloseTo(0.1 * Math.log(4) + 1, 6);
  expect(yarn.ropeInvFreq[0]).toBe(plain[0]!);
  expect(yarn.ropeInvFreq[7]).toBeCloseTo(plain[7]! / 4, 10);

  const spec = tinyGguf(LLAMA);
  const divisors = Buffer.alloc(32);
  for (let i = 0; i < 8; i++) divisors.writeFloatLE(i + 1, 4 * i);
  const tensors = [...spec.tensors, { ...f32Tensor("rope_freqs.weight", 8), data: divisors }];
  expect([...open({ ...spec, tensors }).plan.spec.ropeInvFreq]).toEqual([
    ...plain.map((value, i) => Math.fround(value / (i + 1))),
  ]);
  expect(failure({ ...spec, tensors: [...spec.tensors, f32Tensor("rope_freqs.weight", 8)] }).message).toContain(
    "not positive",
  );
  expect(failure({ ...spec, tensors: [...spec.tensors, f32Tensor("rope_freqs.weight", 4)] }).field).toBe(
    "rope_freqs.weight",
  );
  expect(failure(scaling("longrope")).message).toContain("supported are none, linear, yarn");
});

test("text: vocabulary, end tokens, special tokens, templates", () => {
  const { text } = open(
    llamaWith({
      "tokenizer.chat_template": { string: "{{ messages }}" },
      "tokenizer.chat_templates": { strings: ["tool_use"] },
      "tokenizer.chat_template.tool_use": { string: "{{ tools }}" },
      "tokenizer.ggml.padding_token_id": { u32: 0xffffffff },
      "tokenizer.ggml.add_bos_token": { bool: true },
    }),
  );
  expect(text.eosTokenIds).toEqual([0, 4]); // eos by key, <|im_end|> by name
  expect(text.bosTokenId).toBe(0);
  expect(text.specialTokens).toEqual({ bos_token: "<s>", eos_token: "<s>" });
  expect(text.chatTemplate).toBe("{{ messages }}");
  expect(text.namedTemplates).toEqual({ tool_use: "{{ tools }}" });
  expect(text.tokenizer).toMatchObject({
    kind: "gguf",
    model: "gpt2",
    pre: "qwen2",
    merges: ["a b"],
    addBos: true,
    addSpacePrefix: false,
    padTokenId: undefined,
  });
});

test("what is not supported is refused by name", () => {
  const refused = (metadata: Record<string, GgufValue>) => failure(llamaWith(metadata));
  expect(failure(tinyGguf({ architecture: "gemma3" })).message).toContain("is gemma3; supported are llama, mistral");
  expect(refused({ "llama.final_logit_softcapping": { f32: 30 } }).field).toBe("llama.final_logit_softcapping");
  expect(refused({ "llama.logit_scale": { f32: 0.5 } }).field).toBe("llama.logit_scale");
  expect(refused({ "llama.attention.causal": { bool: false } }).field).toBe("llama.attention.causal");
  expect(refused({ "llama.rope.dimension_count": { u32: 8 } }).message).toContain("only the head's own 16");
  expect(refused({ "llama.attention.head_count_kv": { i32s: [2, 1] } }).message).toContain(
    "differs from layer to layer",
  );
  expect(open(llamaWith({ "llama.attention.head_count_kv": { i32s: [2, 2] } })).plan.spec.numKvHeads).toBe(2);
  expect(refused({ "llama.attention.head_count_kv": { u32: 3 } }).message).toContain("does not divide");
  expect(refused({ "llama.block_count": { u32: 2 ** 31 } }).message).toContain("outside 1 to 1024");
  expect(refused({ "llama.embedding_length": { u32: 128 } }).message).toContain("implies");
  expect(refused({ "llama.attention.layer_norm_rms_epsilon": { f32: 0 } }).field).toContain("epsilon");
  expect(refused({ "tokenizer.ggml.model": { string: "bert" } }).field).toBe("tokenizer.ggml.model");
  expect(refused({ "tokenizer.ggml.token_type": { i32s: [1] } }).message).toContain("1 values for 6 tokens");
  expect(refused({ "tokenizer.ggml.eos_token_id": { u32: 6 } }).message).toContain("outside 0 to 5");
  expect(refused({ "tokenizer.ggml.tokens": { strings: Array(7).fill("x") } }).message).toContain("only 6 rows");
  expect(refused({ "llama.vocab_size": { u32: 7 } }).field).toBe("llama.vocab_size");
});

test("missing, misshapen and surplus tensors", () => {
  const spec = tinyGguf(LLAMA);
  for (const { name } of spec.tensors.filter((tensor) => tensor.name !== "output.weight")) {
    const error = failure({ ...spec, tensors: spec.tensors.filter((tensor) => tensor.name !== name) });
    expect(error.message).toContain("is missing");
    expect(error.field).toBe(name);
  }
  const replaced = (name: string, tensor: GgufSpec["tensors"][number]) =>
    failure({ ...spec, tensors: spec.tensors.map((old) => (old.name === name ? tensor : old)) }).message;
  expect(replaced("blk.1.ffn_up.weight", q8Tensor("blk.1.ffn_up.weight", INNER + 1, HIDDEN))).toContain(
    "blk.1.ffn_up.weight: has the shape [97, 64], but the configuration implies [96, 64]",
  );
  expect(replaced("output_norm.weight", f32Tensor("output_norm.weight", 1, HIDDEN))).toContain("shape [1, 64]");
  const surplus = failure({
    ...spec,
    tensors: [...spec.tensors, f32Tensor("blk.0.post_attention_norm.weight", HIDDEN)],
  });
  expect(surplus.message).toContain("blk.0.post_attention_norm.weight: is not part of llama");
  expect(failure({ ...spec, tensors: [...spec.tensors, f32Tensor("blk.2.attn_norm.weight", HIDDEN)] }).field).toBe(
    "blk.2.attn_norm.weight",
  );
});

test("a model in parts, opened by any of them", () => {
  using folder = new TempFolder();
  const spec = tinyGguf(LLAMA);
  const cut = 7;
  const split = (no: number, count: number, tensors: GgufSpec["tensors"], metadata = {}) =>
    writeGguf({
      metadata: {
        ...metadata,
        "split.no": { u32: no },
        "split.count": { u32: count },
        "split.tensors.count": { i32: spec.tensors.length },
      },
      tensors,
    }).bytes;
  const name = (no: number) => folder.file(`tiny-0000${no}-of-00002.gguf`);
  writeFileSync(name(1), split(0, 2, spec.tensors.slice(0, cut), spec.metadata));
  expect(() => openModel(name(1))).toThrow("tiny-00002-of-00002.gguf: cannot be opened (ENOENT)");
  writeFileSync(name(2), split(1, 2, spec.tensors.slice(cut)));
  const model = openModel(name(2));
  expect(model.plan.paths).toEqual([name(1), name(2)]);
  expect(new Set(model.plan.tensors.map((tensor) => tensor.file))).toEqual(new Set([0, 1]));
  expect(openModel(folder.path).plan).toEqual(model.plan);

  writeFileSync(name(2), split(1, 2, spec.tensors.slice(cut - 1)));
  expect(() => openModel(name(1))).toThrow("split.tensors.count");
  writeFileSync(name(2), split(0, 2, spec.tensors.slice(cut)));
  expect(() => openModel(name(1))).toThrow("split.no");
  writeFileSync(folder.file("renamed.gguf"), split(0, 2, spec.tensors.slice(0, cut), spec.metadata));
  expect(() => openModel(folder.file("renamed.gguf"))).toThrow("split.count");
});

test("the bundled model", () => {
  const path = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  const model = openModel(path);
  expect(model.quantization).toBe("Q4_1");
  expect(model.plan.spec).toMatchObject({ numLayers: 30, hiddenSize: 576, numHeads: 9, numKvHeads: 3, headDim: 64 });
  expect(model.plan.tensors).toHaveLength(272);
  expect(model.text.eosTokenIds).toContain(2);
  expect(model.text.specialTokens).toMatchObject({ bos_token: "<|im_start|>", eos_token: "<|im_end|>" });
  expect(model.text.chatTemplate).toContain("add_generation_prompt");
  const last = Math.max(...model.plan.tensors.map((tensor) => tensor.offset + tensor.numBytes));
  expect(last).toBeLessThanOrEqual(Bun.file(path).size);
});

test("sampling: the checkpoint's own, and beside it what is known of its name", () => {
  const named = (name: string) => ({ "general.name": { string: name } });
  const known = { temperature: 0.2, topP: 0.9, repetitionPenalty: 1.05, frequencyPenalty: 0.1 };
  const ours = open(llamaWith({ ...named("Smollm2 135M 8k Lc100K Mix1 Ep2"), "general.sampling.temp": { f32: 0.5 } }));
  expect([ours.generationDefaults, ours.recommendedSampling]).toEqual([{ temperature: 0.5 }, known]);
  const bundled = openModel("models/SmolLM2-135M-Instruct.Q4_1.gguf");
  expect([bundled.generationDefaults, bundled.recommendedSampling]).toEqual([{}, known]);
  expect(open(llamaWith(named("constructor"))).recommendedSampling).toEqual({});
});
