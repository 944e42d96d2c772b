import { describe, expect, test } from "bun:test";
import { Detokenizer } from "../../src/text/detokenizer.ts";
import { corpus, seeded, tokenizerOf } from "./sources.ts";

const names = Object.keys(corpus.expected);

function deltas(name: string, ids: ArrayLike<number>, skipSpecialTokens: boolean): string[] {
  const detokenizer = new Detokenizer(tokenizerOf(name), skipSpecialTokens);
  return [...Array.from(ids, (id) => detokenizer.push(id)), detokenizer.flush()];
}

describe.each(names)("%s", (name) => {
  test("deltas of random ids add up to decoding all at once", () => {
    const tokenizer = tokenizerOf(name);
    const random = seeded(7);
    for (let round = 0; round < 400; round++) {
      // Half the rounds draw from the first ids, where bytes, byte-fallback tokens and special tokens are.
      const range = round % 2 === 0 ? tokenizer.vocabSize + 2 : Math.min(300, tokenizer.vocabSize);
      const ids = Array.from({ length: 1 + Math.floor(random() * 40) }, () => Math.floor(random() * range));
      for (const skip of [true, false]) {
        expect(deltas(name, ids, skip).join("")).toBe(tokenizer.decode(ids, skip));
      }
    }
  });

  test("a character is never split", () => {
    const tokenizer = tokenizerOf(name);
    for (const text of ["👨\u200d👩\u200d👧\u200d👦", "你好,世界。", "नमस्ते", "🇩🇪❤️‍🔥", "a\u0301"]) {
      const parts = deltas(name, tokenizer.encode(text, false), true);
      for (const part of parts) expect(part.isWellFormed() && !part.includes("\ufffd")).toBe(true);
      expect(parts.join("").normalize("NFC")).toBe(text.normalize("NFC"));
    }
  });
});

test("unfinished and invalid bytes become U+FFFD as soon as that is certain, or at the end", () => {
  const tokenizer = tokenizerOf("llama2");
  const byte = (value: number) => 3 + value; // <0x00> follows <unk>, <s>, </s>
  expect(tokenizer.tokenBytes(byte(0xf0))).toEqual(Uint8Array.of(0xf0));
  expect(deltas("llama2", [0xf0, 0x9f, 0x98, 0x80].map(byte), true)).toEqual(["", "", "", "😀", ""]);
  expect(deltas("llama2", [0xf0, 0x9f, 0x98].map(byte), true)).toEqual(["", "", "", "\ufffd"]);
  expect(deltas("llama2", [0xf0, 0x9f, 0x41].map(byte), true)).toEqual(["", "", "\ufffdA", ""]);
  expect(deltas("llama2", [0xff, 0x41].map(byte), true)).toEqual(["\ufffd", "A", ""]);
});

test("a byte order mark is text", () => {
  const tokenizer = tokenizerOf("smollm");
  const ids = tokenizer.encode("\ufeffa", false);
  expect(deltas("smollm", ids, true).join("")).toBe("\ufeffa");
});

test("the word mark is stripped at the start only, and after skipped tokens", () => {
  const tokenizer = tokenizerOf("llama2");
  const ids = tokenizer.encode("the the", true);
  expect(tokenizer.isSpecial(ids[0]!)).toBe(true);
  expect(deltas("llama2", ids, true).join("")).toBe("the the");
  // A special token that is kept is text, so the mark after it is a space.
  expect(deltas("llama2", ids, false).join("")).toBe("<s> the the");
});
