import { expect, test } from "bun:test";
import { bootstrapRatio, meanStatistic, ofSample, quantileStatistic } from "../../../src/bench/stats/bootstrap.ts";
import { compareSamples } from "../../../src/bench/stats/compare.ts";
import { quantileOfSorted } from "../../../src/bench/stats/distribution.ts";
import { makeRng } from "../../../src/bench/stats/rng.ts";
import { makeRecord } from "../make-record.ts";

test("a weighted statistic is that of the expanded sample", () => {
  const rng = makeRng(3);
  const clusters = Array.from({ length: 9 }, () => Array.from({ length: rng.integer(6) }, () => rng.integer(20)));
  for (let round = 0; round < 50; round++) {
    const weights = Uint32Array.from(clusters, () => rng.integer(4));
    const expanded = clusters.flatMap((cluster, i) => Array.from({ length: weights[i]! }, () => cluster).flat());
    const sorted = Float64Array.from(expanded).sort();
    for (const q of [0, 0.25, 0.5, 0.9, 0.99, 1])
      expect(quantileStatistic(clusters, q)(weights)).toBeCloseTo(quantileOfSorted(sorted, q), 10);
    const mean = expanded.reduce((sum, value) => sum + value, 0) / expanded.length;
    expect(meanStatistic(clusters)(weights)).toBeCloseTo(mean, 10);
  }
});

/** Requests with exponential first-token times of the given mean. */
function sample(meanMs: number, count: number, seed: number) {
  const rng = makeRng(seed);
  const records = Array.from({ length: count }, (_, session) => {
    const first = 50 + meanMs * rng.exponential();
    return makeRecord({ session, chunkMs: [first, first + 10], endMs: first + 10, outputTokens: 2 });
  });
  return { records, outputTokensPerS: 100, load: { kind: "closed", concurrency: 4 } as const };
}

test("the interval covers the true ratio about as often as it says", () => {
  let covered = 0;
  const runs = 60;
  for (let seed = 0; seed < runs; seed++) {
    const side = (mean: number, salt: number) => {
      const rng = makeRng(seed, salt);
      const clusters = Array.from({ length: 80 }, () => [mean * (1 + 0.3 * rng.normal())]);
      return { statistic: meanStatistic(clusters), size: clusters.length };
    };
    const interval = bootstrapRatio(side(100, 1), side(120, 2), seed, false)!;
    expect(interval.low).toBeLessThanOrEqual(interval.ratio);
    expect(interval.high).toBeGreaterThanOrEqual(interval.ratio);
    if (interval.low <= 1.2 && interval.high >= 1.2) covered++;
  }
  expect(covered).toBeGreaterThan(0.85 * runs);
});

test("a real difference is told, its direction too; the same sample is unclear", () => {
  const verdicts = (a: ReturnType<typeof sample>, b: ReturnType<typeof sample>) =>
    Object.fromEntries(compareSamples(a, b, 1).map(({ figure, verdict }) => [figure, verdict]));
  const [fast, slow] = [sample(50, 200, 1), sample(150, 200, 2)];
  expect(verdicts(fast, slow)).toMatchObject({ "TTFT mean": "worse", "E2E mean": "worse", throughput: "worse" });
  expect(verdicts(slow, fast)).toMatchObject({ "TTFT mean": "better", throughput: "better", "ITL mean": "unclear" });
  expect(Object.values(verdicts(fast, fast)).every((verdict) => verdict === "unclear")).toBe(true);
});

test("what befalls both sessions of a pair widens no interval, and a session without its other is left out", () => {
  const [alone, slower] = [sample(50, 200, 1), sample(50, 200, 1)];
  for (const record of slower.records) {
    record.chunkMs = record.chunkMs.map((atMs) => atMs * 1.02);
    record.endMs! *= 1.02;
  }
  const ttft = (paired: boolean) => compareSamples(alone, slower, 1, paired)[0]!;
  expect(ttft(false).verdict).toBe("unclear");
  expect(ttft(true).verdict).toBe("worse");
  expect(ttft(true).interval!.low).toBeCloseTo(1.02, 6);
  expect(ttft(true).interval!.high).toBeCloseTo(1.02, 6);
  const gone = slower.records.splice(20, 30);
  expect(ttft(true).b / ttft(true).a).toBeCloseTo(1.02, 6);
  alone.records.splice(20, 30);
  slower.records.push(...gone);
  expect(ttft(true).b / ttft(true).a).toBeCloseTo(1.02, 6);
});

test("an open loop's throughput has no interval, and a lone request has none at all", () => {
  const open = { ...sample(50, 50, 1), load: { kind: "poisson", ratePerS: 4 } as const };
  const figures = compareSamples(open, open, 1);
  expect(figures.find(({ figure }) => figure === "throughput")?.interval).toBeUndefined();
  expect(figures.find(({ figure }) => figure === "TTFT mean")?.interval).toBeDefined();
  const lone = compareSamples(sample(50, 1, 1), sample(50, 1, 2), 1);
  expect(lone.every(({ interval, verdict }) => interval === undefined && verdict === "unclear")).toBe(true);
});

test("the sample's own figure takes every cluster once", () => {
  expect(ofSample(meanStatistic([[1, 2], [6]]), 2)).toBe(3);
});
