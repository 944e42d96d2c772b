import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { readConfig } from "../../../src/model/huggingface/read-config.ts";
import { readQuantization } from "../../../src/model/huggingface/read-quantization.ts";
import { JsonFields } from "../../../src/model/json-fields.ts";
import { type ModelConfig, toModelSpec } from "../../../src/model/model-config.ts";

type Json = Record<string, unknown>;

const fields = (json: Json) => new JsonFields("config.json", "", json);
const read = (json: Json): ModelConfig => readConfig(fields(json));
const golden = (name: string): Json => JSON.parse(readFileSync(`test/fixtures/goldens/${name}/config.json`, "utf8"));

const LLAMA = golden("tiny-llama");

test("old spellings mean what the new ones do", () => {
  for (const name of ["tiny-llama-linear", "tiny-llama-yarn", "tiny-llama3-tied", "tiny-mixtral", "tiny-qwen3-moe"]) {
    const now = golden(name);
    const {
      rope_parameters: rope,
      dtype,
      num_local_experts: experts,
      ...rest
    } = now as Json & { rope_parameters: Json };
    const { rope_theta, rope_type, ...scaling } = rope;
    const before = {
      ...rest,
      torch_dtype: dtype,
      rope_theta,
      rope_scaling: rope_type === "default" ? null : { type: rope_type, ...scaling },
      ...(experts === undefined
        ? {}
        : name === "tiny-mixtral"
          ? { num_local_experts: experts }
          : { num_experts: experts }),
    };
    expect(toModelSpec(read(before))).toEqual(toModelSpec(read(now)));
  }
});

test("fields that are left out or null", () => {
  const { head_dim, num_key_value_heads, rms_norm_eps, rope_parameters, ...bare } = LLAMA;
  expect(read(bare)).toMatchObject({ headDim: 16, numKvHeads: 4, rmsNormEps: 1e-6, rope: { theta: 10_000 } });
  const qwen3 = golden("tiny-qwen3");
  delete qwen3.head_dim;
  expect(read(qwen3).headDim).toBe(128);
  expect(read({ ...golden("tiny-mistral-window"), num_key_value_heads: null }).numKvHeads).toBe(4);
});

test("sliding windows", () => {
  const windows = (name: string, changes: Json) => [...read({ ...golden(name), ...changes }).layerWindow];
  expect(windows("tiny-mistral-window", {})).toEqual([24, 24, 24]);
  expect(windows("tiny-mistral-window", { sliding_window: null })).toEqual([0, 0, 0]);
  const { sliding_window, ...withoutWindow } = golden("tiny-mistral-window");
  expect([...read(withoutWindow).layerWindow]).toEqual([4096, 4096, 4096]);
  expect(windows("tiny-llama", { sliding_window: 24 })).toEqual([0, 0, 0]);
  const used = { use_sliding_window: true, sliding_window: 32, max_window_layers: 1, layer_types: null };
  expect(windows("tiny-qwen2", used)).toEqual([0, 32, 32]);
  expect(windows("tiny-qwen2", { ...used, use_sliding_window: false })).toEqual([0, 0, 0]);
  const types = ["sliding_attention", "full_attention", "sliding_attention"];
  expect(windows("tiny-qwen3", { ...used, layer_types: types })).toEqual([32, 0, 32]);
  expect(() => windows("tiny-qwen3", { ...used, layer_types: types, use_sliding_window: false })).toThrow(
    "layer_types",
  );
  expect(() => windows("tiny-qwen3", { ...used, layer_types: ["full_attention"] })).toThrow("1 entries for 3 layers");
  expect(() => windows("tiny-qwen3", { ...used, layer_types: ["linear", ...types.slice(1)] })).toThrow("unknown kind");
  expect(windows("tiny-qwen3-moe", used)).toEqual([32, 32, 32]);
});

test("experts: which layers, how many, normalised or not", () => {
  const experts = (changes: Json) => read({ ...golden("tiny-qwen3-moe"), ...changes }).experts!;
  expect(experts({})).toEqual({
    count: 8,
    perToken: 2,
    intermediateSize: 64,
    normTopkProb: true,
    layers: [true, true, true],
  });
  expect(experts({ mlp_only_layers: [1] }).layers).toEqual([true, false, true]);
  expect(experts({ decoder_sparse_step: 2 }).layers).toEqual([false, true, false]);
  expect(experts({ norm_topk_prob: false }).normTopkProb).toBe(false);
  expect(toModelSpec(read({ ...golden("tiny-qwen3-moe"), mlp_only_layers: [1] })).intermediateSize).toBe(160);
  expect(read(golden("tiny-mixtral")).experts).toMatchObject({ count: 8, intermediateSize: 160, normTopkProb: true });
});

test("biases", () => {
  expect(read({ ...LLAMA, attention_bias: true })).toMatchObject({ qkvBias: true, oBias: true });
  expect(read(LLAMA)).toMatchObject({ qkvBias: false, oBias: false });
  expect(read(golden("tiny-qwen2"))).toMatchObject({ qkvBias: true, oBias: false });
});

test("yarn reaches beyond max_position_embeddings", () => {
  const rope_parameters = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 512, rope_theta: 1e6 };
  const config = read({ ...LLAMA, rope_parameters });
  expect(config.maxPositions).toBe(2048);
  expect(config.rope.scaling).toMatchObject({ kind: "yarn", factor: 4, betaFast: 32, betaSlow: 1, truncate: true });
  const more = { ...rope_parameters, attention_factor: 1.5, beta_fast: 16, beta_slow: 2, truncate: false };
  expect(read({ ...LLAMA, rope_parameters: more }).rope.scaling).toMatchObject({
    attentionFactor: 1.5,
    betaFast: 16,
    betaSlow: 2,
    truncate: false,
  });
});

test("what is not supported is refused, saying what is", () => {
  const refused = (changes: Json, message: string) => expect(() => read({ ...LLAMA, ...changes })).toThrow(message);
  refused({ model_type: "gemma3" }, "model_type: is gemma3; supported are llama, mistral, mixtral, qwen2, qwen3");
  refused({ model_type: undefined }, "model_type: is missing");
  refused({ architectures: ["LlamaForSequenceClassification"] }, "supported for llama is LlamaForCausalLM");
  refused({ hidden_act: "gelu" }, 'hidden_act: is "gelu"');
  refused({ mlp_bias: true }, "mlp_bias: is true");
  refused({ partial_rotary_factor: 0.5 }, "partial_rotary_factor");
  refused({ final_logit_softcapping: 30 }, "final_logit_softcapping");
  refused({ rope_scaling: { type: "dynamic", factor: 2 }, rope_parameters: null }, "supported are default, linear");
  refused(
    { rope_parameters: { rope_type: "longrope", short_factor: [1], long_factor: [1] } },
    "is longrope; supported",
  );
  refused({ rope_parameters: { rope_type: "linear" } }, "rope_parameters.factor: is missing");
  refused({ rope_parameters: { full_attention: { rope_theta: 1 } } }, "differ between layers");
  refused({ rope_parameters: { rope_theta: 0 } }, "rope_theta");
  refused({ hidden_size: 0 }, "hidden_size: is 0, outside 1 to");
  refused({ hidden_size: "64" }, "hidden_size: is not a number");
  refused({ num_hidden_layers: 1e9 }, "num_hidden_layers");
  refused({ num_key_value_heads: 3 }, "does not divide 4 heads");
  refused({ head_dim: 15 }, "head_dim");
  refused({ vocab_size: undefined }, "vocab_size: is missing");
});

test("quantisation methods", () => {
  const quantization = (config: unknown) => readQuantization(fields({ quantization_config: config }));
  expect(quantization(undefined)).toBeUndefined();
  expect(quantization(golden("tiny-qwen3-fp8-block").quantization_config)).toEqual({ block: [128, 128] });
  expect(quantization(golden("tiny-llama-fp8-channel").quantization_config)).toEqual({ block: undefined });
  expect(quantization(golden("tiny-mixtral-fp8-tensor").quantization_config)).toEqual({ block: undefined });
  expect(() => quantization({ quant_method: "gptq", bits: 4 })).toThrow("is gptq; supported are fp8");
  expect(() => quantization({ quant_method: "awq" })).toThrow("is awq");
  expect(() => quantization({ quant_method: "fp8", fmt: "e5m2" })).toThrow("only e4m3");
  expect(() => quantization({ quant_method: "fp8", weight_block_size: [128] })).toThrow("weight_block_size");
  expect(() => quantization({ quant_method: "compressed-tensors", format: "pack-quantized" })).toThrow(
    "pack-quantized",
  );
  const group = (weights: Json) => ({
    quant_method: "compressed-tensors",
    format: "float-quantized",
    config_groups: { group_0: { weights: { num_bits: 8, type: "float", strategy: "channel", ...weights } } },
  });
  expect(quantization(group({ strategy: "block", block_structure: [64, 128] }))).toEqual({ block: [64, 128] });
  expect(() => quantization(group({ num_bits: 4 }))).toThrow("8-bit float");
  expect(() => quantization(group({ strategy: "group" }))).toThrow("strategy");
  expect(() => quantization(group({ symmetric: false }))).toThrow("symmetric");
});
