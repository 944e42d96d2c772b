import { expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openModel } from "../../../src/model/open-model.ts";
import type { WeightTensor } from "../../../src/model/spec.ts";
import { type TensorSpec, tensor, writeSafetensors } from "../safetensors/safetensors-writer.ts";
import { TempFolder } from "../temp-folder.ts";

const GOLDENS = "test/fixtures/goldens";

function copyOf(name: string): TempFolder {
  const folder = new TempFolder();
  cpSync(join(GOLDENS, name), folder.path, { recursive: true });
  rmSync(folder.file("golden.safetensors"));
  return folder;
}

function editJson(path: string, edit: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(path, "utf8"));
  edit(json);
  writeFileSync(path, JSON.stringify(json));
}

/** The tensors of a golden's file, to be written again with changes. */
function tensorsOf(name: string): Record<string, TensorSpec> {
  const bytes = readFileSync(join(GOLDENS, name, "model.safetensors"));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + Number(bytes.readBigUInt64LE())));
  delete header.__metadata__;
  return Object.fromEntries(
    Object.entries(header as Record<string, { dtype: string; shape: number[] }>).map(([key, { dtype, shape }]) => [
      key,
      tensor(dtype, ...shape),
    ]),
  );
}

const scaleOf = (tensors: readonly WeightTensor[], role: string) => tensors.find((t) => t.role === role)!.scale;

test("every golden opens, with its numbers, types and text", () => {
  const expected: Record<string, [architecture: string, quantization: string, tensors: number]> = {
    "tiny-llama": ["llama", "BF16", 30],
    "tiny-llama-linear": ["llama", "BF16", 30],
    "tiny-llama-yarn": ["llama", "BF16", 30],
    "tiny-llama3-tied": ["llama", "BF16", 29],
    "tiny-mistral-window": ["mistral", "BF16", 30],
    "tiny-mixtral": ["mixtral", "BF16", 96],
    "tiny-qwen2": ["qwen2", "BF16", 38],
    "tiny-qwen3": ["qwen3", "BF16", 36],
    "tiny-qwen3-moe": ["qwen3_moe", "BF16", 102],
    "tiny-llama-fp8-channel": ["llama", "F8_E4M3", 21],
    "tiny-mixtral-fp8-tensor": ["mixtral", "F8_E4M3", 41],
    "tiny-qwen3-fp8-block": ["qwen3", "F8_E4M3", 25],
  };
  for (const [name, [architecture, quantization, count]] of Object.entries(expected)) {
    const model = openModel(join(GOLDENS, name));
    expect(model.name).toBe(name);
    expect(model.plan.spec.architecture).toBe(architecture);
    expect(model.quantization).toBe(quantization);
    expect(model.plan.tensors).toHaveLength(count);
    expect(model.text).toMatchObject({ eosTokenIds: [2], bosTokenId: 1 });
    expect(model.text.specialTokens).toMatchObject({ bos_token: "<s>", eos_token: "</s>", pad_token: "<pad>" });
    expect(model.text.chatTemplate).toContain("im_start");
    expect(model.plan.tensors.every(({ ropeHeads }) => ropeHeads === 0)).toBe(true);
  }
});

test("fp8 scales by kind", () => {
  const of = (name: string) => openModel(join(GOLDENS, name)).plan.tensors;
  expect(scaleOf(of("tiny-llama-fp8-channel"), "gate")).toMatchObject({ kind: "row", dtype: "bf16", numBytes: 640 });
  expect(scaleOf(of("tiny-mixtral-fp8-tensor"), "expert_up")).toMatchObject({
    kind: "tensor",
    dtype: "f32",
    numBytes: 4,
  });
  expect(scaleOf(of("tiny-qwen3-fp8-block"), "down")).toMatchObject({
    kind: "block",
    dtype: "f32",
    numBytes: 24,
    blockRows: 128,
    blockCols: 128,
  });
  expect(scaleOf(of("tiny-qwen3-fp8-block"), "embed")).toBeUndefined();
});

test("fp8 weights without a usable scale are refused", () => {
  using folder = copyOf("tiny-llama-fp8-channel");
  const weights = folder.file("model.safetensors");
  const name = "model.layers.1.mlp.up_proj.weight";
  const rewrite = (edit: (tensors: Record<string, TensorSpec>) => void) => {
    const tensors = tensorsOf("tiny-llama-fp8-channel");
    edit(tensors);
    writeSafetensors(weights, tensors);
    return () => openModel(folder.path);
  };
  expect(rewrite((tensors) => void delete tensors[`${name}_scale`])).toThrow(`${name}: is F8_E4M3 without`);
  expect(rewrite((tensors) => (tensors[`${name}_scale`] = tensor("BF16", 3, 1)))).toThrow("has the shape [3, 1]");
  expect(rewrite((tensors) => (tensors[`${name}_scale`] = tensor("F16", 320, 1)))).toThrow("has the type F16");
  expect(rewrite((tensors) => (tensors[name] = tensor("BF16", 320, 192)))).toThrow("has a scale but is BF16");
  expect(rewrite((tensors) => (tensors[`${name}_scale_inv`] = tensor("F32", 320, 1)))).toThrow("has both");
  expect(rewrite((tensors) => (tensors["model.layers.0.self_attn.k_scale"] = tensor("F32")))).not.toThrow();
});

test("missing, misshapen, mistyped and surplus tensors are refused", () => {
  using folder = copyOf("tiny-llama");
  const rewrite = (edit: (tensors: Record<string, TensorSpec>) => void) => {
    const tensors = tensorsOf("tiny-llama");
    edit(tensors);
    writeSafetensors(folder.file("model.safetensors"), tensors);
    return () => openModel(folder.path);
  };
  const q = "model.layers.2.self_attn.q_proj.weight";
  expect(rewrite((tensors) => void delete tensors[q])).toThrow(`${q}: is missing; llama needs it`);
  expect(rewrite((tensors) => (tensors[q] = tensor("BF16", 64, 32)))).toThrow("implies [64, 64]");
  expect(rewrite((tensors) => (tensors[q] = tensor("I32", 64, 64)))).toThrow("has the type I32");
  const bias = "model.layers.0.self_attn.q_proj.bias";
  expect(rewrite((tensors) => (tensors[bias] = tensor("BF16", 64)))).toThrow(`${bias}: is not part of llama`);
  const rotary = "model.layers.0.self_attn.rotary_emb.inv_freq";
  expect(rewrite((tensors) => (tensors[rotary] = tensor("F32", 8)))).not.toThrow();
});

test("attention_bias calls for four biases; a tied head may be stored all the same", () => {
  using folder = copyOf("tiny-llama");
  editJson(folder.file("config.json"), (json) => {
    json.attention_bias = true;
    json.tie_word_embeddings = true;
  });
  const tensors = tensorsOf("tiny-llama");
  for (let layer = 0; layer < 3; layer++) {
    for (const [name, size] of [
      ["q", 64],
      ["k", 32],
      ["v", 32],
      ["o", 64],
    ] as const) {
      tensors[`model.layers.${layer}.self_attn.${name}_proj.bias`] = tensor("BF16", size);
    }
  }
  writeSafetensors(folder.file("model.safetensors"), tensors);
  const roles = openModel(folder.path).plan.tensors.map(({ role }) => role);
  expect(roles.filter((role) => role === "o_bias")).toHaveLength(3);
  expect(roles).not.toContain("lm_head");
});

test("templates: a file beside the configuration wins, named ones are kept", () => {
  using folder = copyOf("tiny-llama");
  const config = folder.file("tokenizer_config.json");
  editJson(config, (json) => {
    json.chat_template = [
      { name: "default", template: "one" },
      { name: "tool_use", template: "two" },
    ];
    json.bos_token = { content: "<begin>", special: true };
    delete json.eos_token;
  });
  writeFileSync(folder.file("special_tokens_map.json"), JSON.stringify({ eos_token: "<end>" }));
  const { text } = openModel(folder.path);
  expect(text.chatTemplate).toBe("one");
  expect(text.namedTemplates).toEqual({ tool_use: "two" });
  expect(text.specialTokens).toMatchObject({ bos_token: "<begin>", eos_token: "<end>" });
  writeFileSync(folder.file("chat_template.jinja"), "three");
  mkdirSync(folder.file("additional_chat_templates"));
  writeFileSync(folder.file("additional_chat_templates/rag.jinja"), "four");
  expect(openModel(folder.path).text.chatTemplate).toBe("three");
  expect(openModel(folder.path).text.namedTemplates).toEqual({ tool_use: "two", rag: "four" });
  rmSync(config);
  expect(openModel(folder.path).text.tokenizer).toMatchObject({ kind: "tokenizer_json", config: "{}" });
});

test("end tokens and sampling defaults come from generation_config.json too", () => {
  using folder = copyOf("tiny-llama");
  const path = folder.file("generation_config.json");
  writeFileSync(path, JSON.stringify({ eos_token_id: [7, 2], temperature: 0.6, top_k: 20, top_p: 0.95, min_p: null }));
  const model = openModel(folder.path);
  expect(model.text.eosTokenIds).toEqual([7, 2]);
  expect(model.generationDefaults).toEqual({ temperature: 0.6, topK: 20, topP: 0.95 });
  expect(model.warnings).toEqual([]);
  // What no request could ask for is no reason not to serve the model, and is nobody's default.
  const odd = { top_p: 1e-46, temperature: 3, top_k: -1, min_p: "0.1", repetition_penalty: 0 };
  writeFileSync(path, JSON.stringify(odd));
  const ignoring = openModel(folder.path);
  expect(ignoring.generationDefaults).toEqual({ topK: 0 });
  expect(ignoring.warnings).toHaveLength(4);
  expect(ignoring.warnings[1]).toContain(
    "generation_config.json: top_p is 1e-46, but must be between 0 (exclusive) and 1",
  );
  writeFileSync(path, JSON.stringify({ eos_token_id: "</s>" }));
  expect(() => openModel(folder.path)).toThrow("eos_token_id");
  rmSync(path);
  expect(openModel(folder.path).text.eosTokenIds).toEqual([2]);
  // Named to the tokenizer alone.
  editJson(folder.file("config.json"), (json) => void delete json.eos_token_id);
  const { text } = openModel(folder.path);
  const added = JSON.parse(readFileSync(folder.file("tokenizer.json"), "utf8")).added_tokens;
  expect(text.eosTokenIds).toEqual([added.find(({ content }: { content: string }) => content === "</s>").id]);
});

test("folders that are not models", () => {
  using folder = copyOf("tiny-llama");
  expect(() => openModel(join(folder.path, "nothing"))).toThrow("does not exist");
  expect(() => openModel(folder.file("model.safetensors"))).toThrow("give the folder that holds it");
  rmSync(folder.file("tokenizer.json"));
  expect(() => openModel(folder.path)).toThrow("tokenizer.json: is missing");
  rmSync(folder.file("model.safetensors"));
  expect(() => openModel(folder.path)).toThrow("holds no safetensors weights");
  rmSync(folder.file("config.json"));
  expect(() => openModel(folder.path)).toThrow("holds no config.json");
});
