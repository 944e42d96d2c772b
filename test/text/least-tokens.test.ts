import { expect, test } from "bun:test";
import { BpeTextEncoder } from "../../src/text/bpe-text-encoder.ts";
import { defineTokenizer } from "../../src/text/define-tokenizer.ts";
import { leastTokens } from "../../src/text/least-tokens.ts";
import { bundledSource, sourceOf } from "./sources.ts";

const sources = [
  ["bundled", bundledSource()],
  ["gpt2", sourceOf("gpt2")],
  ["llama3", sourceOf("llama3")],
] as const;

test.each(sources)("%s: never more tokens than there are, and near them in plain English", (_name, source) => {
  const { encoder } = defineTokenizer(source);
  const count = leastTokens(encoder);
  const encode = new BpeTextEncoder(encoder);
  const parts = [
    "the",
    "Quick",
    " brown",
    "  ",
    " ",
    "\n",
    "e\u0301",
    " \u0301",
    "a b",
    ".",
    "1 a",
    "fox",
    "日本",
    " é",
    "<|im_end|>",
    "\t",
    "x y",
  ];
  let seed = 3;
  for (let round = 0; round < 200; round++) {
    let text = "";
    for (let i = 0; i < 60; i++) {
      seed = (seed * 48271) % 2147483647;
      text += parts[seed % parts.length];
    }
    expect(count(text, Number.POSITIVE_INFINITY)).toBeLessThanOrEqual(encode.encode(text, false).length);
  }
  const english = "The harbour master kept two books and a dog. ".repeat(50);
  const tokens = encode.encode(english, false).length;
  expect(count(english, Number.POSITIVE_INFINITY)).toBeGreaterThan(tokens * 0.3);
  expect(count(english, 10)).toBe(10);
});

test("where a space may lie inside a token nothing is counted", () => {
  const { encoder } = defineTokenizer(sourceOf("gpt2"));
  const text = "one two three";
  expect(leastTokens(encoder)(text, 9)).toBe(2);
  expect(leastTokens({ ...encoder, cutBefore: undefined })(text, 9)).toBe(0);
  const added = { id: 1, content: "two three", singleWord: false, lstrip: false, rstrip: false, normalized: false };
  expect(leastTokens({ ...encoder, addedTokens: [added] })(text, 9)).toBe(0);
  const dropped = { type: "replace", pattern: "two ", content: "" } as const;
  expect(leastTokens({ ...encoder, normalizers: [dropped] })(text, 9)).toBe(0);
});
