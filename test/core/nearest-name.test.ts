import { expect, test } from "bun:test";
import { nearestName } from "../../src/core/nearest-name.ts";

const NAMES = ["serve", "run", "chat", "pull", "bench", "profile", "doctor"];

test.each([
  ["sevre", "serve"],
  ["server", "serve"],
  ["rn", "run"],
  ["caht", "chat"],
  ["benhc", "bench"],
  ["profil", "profile"],
  ["docter", "doctor"],
])("%s means %s", (typed, name) => {
  expect(nearestName(typed, NAMES)).toBe(name);
});

test.each(["xyz", "q", "", "somethingelse"])("'%s' means nothing known", (typed) => {
  expect(nearestName(typed, NAMES)).toBeUndefined();
});
