import { expect, test } from "bun:test";
import { pointsOf } from "../../src/bench/results.ts";
import { decodeResults, encodeResults } from "../../src/bench/results-file.ts";
import { makeResults } from "./make-results.ts";

test("a results file gives the same figures again, to the microsecond", () => {
  const results = makeResults(["a", "b"], [1, 4]);
  const text = [...encodeResults(results)].join("");
  const again = decodeResults(text, "x");
  expect(again.info).toEqual(results.info);
  expect(again.slices).toEqual(results.slices);
  const [before, after] = [pointsOf(results), pointsOf(again)];
  expect(after).toHaveLength(4);
  for (const [i, point] of before.entries()) {
    const same = after[i]!.figures;
    expect(same.finished).toBe(point.figures.finished);
    expect(same.outputTokensPerS).toBe(point.figures.outputTokensPerS);
    expect(same.errors).toEqual(point.figures.errors);
    expect(same.ttftMs!.p99).toBeCloseTo(point.figures.ttftMs!.p99, 2);
    expect(same.itlMs!.mean).toBeCloseTo(point.figures.itlMs!.mean, 2);
    expect(same.tpotMs!.p50).toBeCloseTo(point.figures.tpotMs!.p50, 2);
    expect(same.e2eMs!.p50).toBeCloseTo(point.figures.e2eMs!.p50, 2);
  }
  // Every line is JSON of its own, and the figures are there for other programs.
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.filter((line) => line.type === "figures").map((line) => `${line.endpoint} ${line.label}`)).toEqual([
    "a c=1",
    "a c=4",
    "b c=1",
    "b c=4",
  ]);
});

test("what is no results file is refused with the line", () => {
  expect(() => decodeResults("hello", "f.json")).toThrow(/f\.json .*line 1 is not JSON/);
  expect(() => decodeResults('{"type":"other"}', "f.json")).toThrow("line 1 has an unknown type");
  expect(() => decodeResults("", "f.json")).toThrow("no line of type run");
  expect(() => decodeResults('{"type":"run","version":2}', "f.json")).toThrow("version is 2");
});
