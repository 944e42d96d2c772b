import { expect, test } from "bun:test";
import { PromptLookupDrafter } from "../../src/engine/prompt-lookup-drafter.ts";
import { makeSequence } from "./fixture.ts";

function drafts(tokens: number[], most: number): number[] {
  const out = new Int32Array(10).fill(-1);
  const count = new PromptLookupDrafter().draft(makeSequence(tokens), most, out, 2);
  expect(out[1]).toBe(-1);
  return [...out.subarray(2, 2 + count)];
}

test("guesses what followed the last tokens before", () => {
  expect(drafts([1, 2, 3, 4, 5, 6, 7, 1, 2, 3], 4)).toEqual([4, 5, 6, 7]);
  expect(drafts([1, 2, 3, 4, 5, 6, 7, 1, 2, 3], 2)).toEqual([4, 5]);
});

test("a longer match is believed before a shorter, later one", () => {
  expect(drafts([9, 1, 2, 3, 50, 3, 60, 8, 2, 3, 70, 9, 1, 2, 3], 1)).toEqual([50]);
});

test("the latest of equal matches counts", () => {
  expect(drafts([1, 2, 50, 1, 2, 60, 1, 2], 1)).toEqual([60]);
});

test("nothing to go by, nothing guessed", () => {
  expect(drafts([1, 2, 3, 4, 5], 4)).toEqual([]);
  expect(drafts([1], 4)).toEqual([]);
});

test("goes on with its index as the sequence grows", () => {
  const drafter = new PromptLookupDrafter();
  const sequence = makeSequence([1, 2, 3, 4]);
  const out = new Int32Array(4);
  expect(drafter.draft(sequence, 4, out, 0)).toBe(0);
  for (const token of [7, 8, 2, 3]) sequence.append(token);
  expect(drafter.draft(sequence, 4, out, 0)).toBe(4);
  expect([...out]).toEqual([4, 7, 8, 2]);
});
