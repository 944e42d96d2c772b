import { expect, test } from "bun:test";
import { CharacterCounter } from "../../src/text/character-counter.ts";
import { seeded } from "./sources.ts";

/** Bytes that begin, go on, break off and end characters. */
const BYTES = [
  0x41, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff,
];

test("the counts of pieces, cut anywhere, add up to the characters that a decoder makes", () => {
  const random = seeded(21);
  const pick = (n: number) => Math.floor(random() * n);
  for (let round = 0; round < 1000; round++) {
    const bytes = Uint8Array.from({ length: pick(24) }, () => BYTES[pick(BYTES.length)]!);
    const counter = new CharacterCounter();
    let count = 0;
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + pick(4);
      count += counter.push(bytes.subarray(at, at + length));
      at += length;
      // So far: what has been decoded, and at most one character in progress.
      const decoded = [...new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, at))].length;
      expect(count).toBe(decoded);
    }
  }
});

test("a character counts where its first byte is", () => {
  const counter = new CharacterCounter();
  expect(
    [[0xe2], [0x82], [0xac, 0x41], [0x82], [0xf0, 0x9f]].map((part) => counter.push(Uint8Array.from(part))),
  ).toEqual([1, 0, 1, 1, 1]);
});
