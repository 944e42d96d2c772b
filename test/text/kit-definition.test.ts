import { expect, test } from "bun:test";
import { defineTokenizer } from "../../src/text/define-tokenizer.ts";
import { writeKit } from "../../src/text/kit-definition.ts";
import { createKitoken } from "../../src/text/kitoken-module.ts";
import { corpus, sourceOf } from "./sources.ts";

test.each(Object.keys(corpus.expected))("%s: kitoken writes the definition back as it read it", (name) => {
  const { kit } = defineTokenizer(sourceOf(name)).encoder;
  expect(Buffer.from(createKitoken(kit).to_bytes()).equals(kit)).toBe(true);
});

function kitWith(unknown: { id: number; content: string; fuse: boolean } | undefined) {
  const tokens = ["?", "a", "b", "ab"];
  return createKitoken(
    writeKit({
      order: [3, 1, 2],
      tokenBytes: (id) => new TextEncoder().encode(tokens[id]!),
      units: "characters",
      byteFallback: false,
      unknown,
      splits: [],
    }),
  );
}

test("a character without a token is dropped, or becomes the unknown token, fused or not", () => {
  const encode = (unknown: Parameters<typeof kitWith>[0]) => [...kitWith(unknown).encode("abxxb", false)];
  expect(encode(undefined)).toEqual([3, 2]);
  expect(encode({ id: 0, content: "?", fuse: false })).toEqual([3, 0, 0, 2]);
  expect(encode({ id: 0, content: "?", fuse: true })).toEqual([3, 0, 2]);
});
