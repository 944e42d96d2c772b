import { expect, test } from "bun:test";
import { distinctShare, hasLoop } from "../../bench/answer-repetition.ts";

test("the same words three times in a row are a loop", () => {
  expect(hasLoop("I like tea and cake. I like tea and cake. I like tea and cake.")).toBe(true);
  expect(hasLoop("Say it: I am I am I am, I am here. I am here, I AM HERE!")).toBe(true);
  expect(hasLoop("I like tea and cake. I like tea and cake. I like coffee.")).toBe(false);
  expect(hasLoop("Ha ha ha ha! No no no.")).toBe(false);
  expect(hasLoop("")).toBe(false);
});

test("triples that differ", () => {
  expect(distinctShare("one two three four")).toBe(1);
  expect(distinctShare("a b c a b c")).toBe(0.75);
  expect(distinctShare("two words")).toBe(1);
});
