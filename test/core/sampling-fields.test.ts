import { expect, test } from "bun:test";
import type { SlotParams } from "../../src/backend/backend.ts";
import { LIMITS } from "../../src/config/limits.ts";
import { problemOf, SAMPLING_FIELDS, samplingField } from "../../src/core/sampling-fields.ts";
import { choiceSeed, DEFAULT_SAMPLING, type SamplingParams } from "../../src/core/sampling-params.ts";
import { opSample } from "../kernels/op-sample.ts";

const FLOATS = SAMPLING_FIELDS.filter(({ kind }) => kind === "float32");
const SLOT: SlotParams = {
  ...DEFAULT_SAMPLING,
  stopIds: [],
  promptTokens: new Int32Array(0),
  outputTokens: new Int32Array(0),
};
const LOGITS = Float32Array.of(1, 2, 3, 4);

/** Numbers around a bound, and where float32 rounds to a bound, to zero, to a denormal or to infinity. */
function edges({ min = 0, max = 0 }: { min?: number; max?: number }): number[] {
  const tiny = [1e-46, 1e-45, 1e-39, 1.2e-38, Number.MIN_VALUE, 1e39, Number.MAX_VALUE];
  const near = [min, max].flatMap((bound) => [
    bound,
    bound * (1 + 1e-9),
    bound * (1 - 1e-9),
    bound + 1e-46,
    bound - 1e-46,
  ]);
  return [...near, ...tiny, ...tiny.map((value) => -value), 0, -0];
}

test("what passes the checks is accepted by the kernels, and equal answers hold for both precisions of a number", () => {
  for (const spec of FLOATS) {
    const random = Array.from({ length: 200 }, () => (spec.max ?? 1) * (2 * Math.random() - 0.5));
    for (const value of [...edges(spec), ...random]) {
      const problem = problemOf(spec, value);
      expect(problemOf(spec, Math.fround(value)), `${spec.name} ${value}`).toBe(problem);
      if (problem === undefined) opSample(LOGITS, { ...SLOT, [spec.field]: value }, 0);
    }
  }
  for (const value of edges({ min: -100, max: 100 })) {
    if (problemOf(samplingField("logitBias"), value) === undefined) {
      opSample(LOGITS, { ...SLOT, logitBias: [[1, value]] }, 0);
    }
  }
});

test("bounds hold for the number that is stored", () => {
  const refused = (field: keyof SamplingParams, value: number | bigint) =>
    problemOf(samplingField(field), value) !== undefined;
  expect(refused("topP", 1e-46)).toBe(true);
  expect(refused("topP", 1e-45)).toBe(false);
  expect(refused("topP", 1 + 1e-9)).toBe(false);
  expect(refused("topP", 1 + 1e-6)).toBe(true);
  expect(refused("temperature", 1e-46)).toBe(false);
  expect(refused("temperature", -1e-46)).toBe(false);
  expect(refused("temperature", 1e39)).toBe(true);
  expect(refused("temperature", Number.NaN)).toBe(true);
  expect(refused("repetitionPenalty", 0.01)).toBe(false);
  expect(refused("repetitionPenalty", 1e-40)).toBe(true);
  expect(refused("topK", 2 ** 31)).toBe(true);
  expect(refused("minTokens", 1.5)).toBe(true);
  expect(refused("seed", 2 ** 63)).toBe(false);
  expect(refused("seed", 2n ** 64n - 1n)).toBe(false);
  expect(refused("seed", 2n ** 64n)).toBe(true);
  expect(refused("seed", -(2n ** 63n))).toBe(false);
  expect(refused("seed", -(2n ** 63n) - 1n)).toBe(true);
  expect(refused("seed", 1e300)).toBe(true);
  expect(refused("seed", 0.5)).toBe(true);
});

test("every parameter is in the table, once, with its default", () => {
  expect(Object.keys(DEFAULT_SAMPLING).sort()).toEqual(SAMPLING_FIELDS.map(({ field }) => field).sort());
  for (const { field, name } of SAMPLING_FIELDS) {
    expect(name).toBe(field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  }
  expect(samplingField("logprobs").max).toBe(LIMITS.maxTopLogprobs);
});

test("choices have seeds of their own, also where a double would round", () => {
  expect(choiceSeed(7, 3)).toBe(10);
  expect(choiceSeed(-1, 1)).toBe(0);
  expect(choiceSeed(2 ** 53 - 1, 1)).toBe(2n ** 53n);
  expect(choiceSeed(2n ** 64n - 1n, 1)).toBe(0n);
  for (const seed of [0, -5, 2 ** 53 - 1, 2 ** 53, 2n ** 53n, 2n ** 63n - 2n, -(2n ** 63n), 2n ** 64n - 3n]) {
    const seeds = Array.from({ length: 64 }, (_, i) => BigInt.asUintN(64, BigInt(choiceSeed(seed, i))));
    expect(new Set(seeds).size).toBe(64);
    expect(seeds[5]).toBe(BigInt.asUintN(64, BigInt(seed) + 5n));
  }
});
