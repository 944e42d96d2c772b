import { expect, test } from "bun:test";
import { distributionOf, quantileOfSorted } from "../../../src/bench/stats/distribution.ts";
import { makeRng } from "../../../src/bench/stats/rng.ts";

test("quantiles are numpy's", () => {
  // np.percentile([15, 20, 35, 40, 50], [0, 5, 30, 40, 50, 95, 99, 100])
  const sorted = [15, 20, 35, 40, 50];
  const expected = [15, 16, 23, 29, 35, 48, 49.6, 50];
  const quantiles = [0, 0.05, 0.3, 0.4, 0.5, 0.95, 0.99, 1];
  for (const [i, q] of quantiles.entries()) expect(quantileOfSorted(sorted, q)).toBeCloseTo(expected[i]!, 10);
});

test("one value is every quantile, none is no quantile", () => {
  expect(quantileOfSorted([7], 0.99)).toBe(7);
  expect(quantileOfSorted([], 0.5)).toBeNaN();
  expect(distributionOf([])).toBeUndefined();
});

test("a distribution of 1..100 in any order", () => {
  const values = Array.from({ length: 100 }, (_, i) => ((i * 37) % 100) + 1);
  const { count, mean, p50, p90, p95, p99, min, max } = distributionOf(values)!;
  expect({ count, mean, p50, min, max }).toEqual({ count: 100, mean: 50.5, p50: 50.5, min: 1, max: 100 });
  expect([p90, p95, p99].map((value) => Math.round(value * 100) / 100)).toEqual([90.1, 95.05, 99.01]);
  expect(values[1]).toBe(38);
});

test("random streams repeat, differ by path, and have their moments", () => {
  const draw = (...path: number[]) => {
    const rng = makeRng(1, ...path);
    return Array.from({ length: 5 }, () => rng.uniform());
  };
  expect(draw(1, 2)).toEqual(draw(1, 2));
  expect(draw(1, 2)).not.toEqual(draw(2, 1));
  expect(draw(1)).not.toEqual(draw(1, 0));
  const rng = makeRng(42);
  const n = 50_000;
  const moments = (next: () => number): [number, number] => {
    const values = Array.from({ length: n }, next);
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    return [mean, values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n];
  };
  const near = ([mean, variance]: [number, number], wantMean: number, wantVariance: number): void => {
    expect(mean).toBeCloseTo(wantMean, 1);
    expect(variance / wantVariance).toBeCloseTo(1, 1);
  };
  near(
    moments(() => rng.uniform()),
    0.5,
    1 / 12,
  );
  near(
    moments(() => rng.normal()),
    0,
    1,
  );
  near(
    moments(() => rng.exponential()),
    1,
    1,
  );
  const faces = new Array(6).fill(0);
  for (let i = 0; i < 60_000; i++) faces[rng.integer(6)]++;
  for (const face of faces) expect(Math.abs(face - 10_000)).toBeLessThan(500);
});
