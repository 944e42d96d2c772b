import { expect, test } from "bun:test";
import { BOS } from "./fake-text-service.ts";
import { errorOf, MODEL, TestServer } from "./test-server.ts";

test("a prompt to ids, with the tokenizer's special tokens unless told otherwise", async () => {
  await using server = new TestServer();
  const tokenize = async (fields: object) =>
    (await server.post("/tokenize", { model: MODEL, ...fields })).json() as Promise<object>;
  expect(await tokenize({ prompt: "Aé" })).toEqual({ count: 4, max_model_len: 256, tokens: [BOS, 65, 0xc3, 0xa9] });
  expect(await tokenize({ prompt: "A", add_special_tokens: false })).toMatchObject({ tokens: [65] });
  expect(await tokenize({ prompt: "" })).toMatchObject({ tokens: [BOS], count: 1 });
});

test("many ids are written in pieces, and are all there", async () => {
  await using server = new TestServer({ maxModelLen: 8192 });
  const response = await server.post("/tokenize", { model: MODEL, prompt: "x".repeat(100_000) });
  expect(response.headers.get("content-length")).toBeNull();
  const { count, tokens } = (await response.json()) as { count: number; tokens: number[] };
  expect([count, tokens.length]).toEqual([100_001, 100_001]);
  expect(new Set(tokens)).toEqual(new Set([BOS, 120]));
});

test("messages to ids, with the generation prompt unless told otherwise", async () => {
  await using server = new TestServer();
  const messages = [{ role: "user", content: [{ type: "text", text: "Hi" }] }];
  const textOf = async (fields: object) => {
    const { tokens } = (await (await server.post("/tokenize", { model: MODEL, messages, ...fields })).json()) as {
      tokens: number[];
    };
    return server.text.tokenizer.decode(tokens, false);
  };
  expect(await textOf({})).toBe("user: Hi\nassistant:");
  expect(await textOf({ add_generation_prompt: false })).toBe("user: Hi\n");
  expect(await textOf({ add_special_tokens: true })).toBe("<s>user: Hi\nassistant:");
});

test("ids to text, special tokens included", async () => {
  await using server = new TestServer();
  const response = await server.post("/detokenize", { model: MODEL, tokens: [BOS, 65, 0xc3, 0xa9] });
  expect(await response.json()).toEqual({ prompt: "<s>Aé" });
  expect(await (await server.post("/detokenize", { model: MODEL, tokens: [] })).json()).toEqual({ prompt: "" });
});

test("what is wrong is named", async () => {
  await using server = new TestServer();
  const paramOf = async (path: string, fields: object, status = 400) =>
    (await errorOf(await server.post(path, { model: MODEL, ...fields }), status)).param;
  expect(await paramOf("/tokenize", {})).toBe("prompt");
  expect(await paramOf("/tokenize", { prompt: 7 })).toBe("prompt");
  expect(await paramOf("/tokenize", { messages: [{ role: "user", content: 7 }] })).toBe("messages[0].content");
  expect(await paramOf("/tokenize", { prompt: "a", model: "other" }, 404)).toBe("model");
  expect(await paramOf("/detokenize", {})).toBe("tokens");
  expect(await paramOf("/detokenize", { tokens: [65, "a"] })).toBe("tokens[1]");
  expect(await paramOf("/detokenize", { tokens: [65, 258] })).toBe("tokens[1]");
  expect(await paramOf("/detokenize", { tokens: Array(257).fill(65) })).toBe("tokens");
});
