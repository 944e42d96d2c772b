import { expect, test } from "bun:test";
import { chooseFiles } from "../../../src/model/hub/choose-files.ts";
import { parseHubId } from "../../../src/model/hub/hub-id.ts";

const choose = (id: string, ...files: string[]) => chooseFiles(parseHubId(id)!, files);

test("safetensors with what belongs to them, and nothing else", () => {
  const files = [
    ".gitattributes",
    "LICENSE",
    "README.md",
    "additional_chat_templates/rag.jinja",
    "chat_template.jinja",
    "config.json",
    "consolidated.safetensors",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "onnx/config.json",
    "original/consolidated.00.pth",
    "pytorch_model.bin",
    "tokenizer.json",
  ];
  expect(choose("org/name", ...files)).toEqual({
    main: undefined,
    paths: [
      "additional_chat_templates/rag.jinja",
      "chat_template.jinja",
      "config.json",
      "model.safetensors.index.json",
      "tokenizer.json",
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
    ],
  });
  expect(() => choose("org/name", "model.safetensors")).toThrow("no config.json");
  expect(() => choose("org/name", "pytorch_model.bin", "config.json")).toThrow("neither safetensors weights nor GGUF");
});

test("a GGUF's tag is the whole end of its name", () => {
  const files = ["m-Q4_K_M.gguf", "m-IQ4_K_M.gguf", "m.Q8_0.gguf", "sub/F16.gguf"];
  expect(choose("org/name:q4_k_m", ...files).main).toBe("m-Q4_K_M.gguf");
  expect(choose("org/name:Q8_0", ...files).main).toBe("m.Q8_0.gguf");
  expect(choose("org/name:f16", ...files).main).toBe("sub/F16.gguf");
  expect(() => choose("org/name:K_M", ...files)).toThrow("has no GGUF file K_M; it has");
  expect(() => choose("org/name:Q8_0", ...files, "n-Q8_0.gguf")).toThrow("several files that match");
  expect(choose("org/name", "only.gguf", "README.md").main).toBe("only.gguf");
});

test("all parts or none", () => {
  const parts = ["m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00002-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf"];
  expect(choose("org/name:Q8_0", "m-Q4_0-00001-of-00003.gguf", ...parts)).toEqual({ main: parts[0]!, paths: parts });
  expect(() => choose("org/name:Q8_0", ...parts.slice(0, 2))).toThrow("has 2 of its 3 parts");
});
