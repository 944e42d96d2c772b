import { expect, test } from "bun:test";
import { makeRng } from "../../../src/bench/stats/rng.ts";
import { arrivals, traceArrivals } from "../../../src/bench/workload/arrivals.ts";

function take(times: Iterable<number>, count: number): number[] {
  const out: number[] = [];
  for (const time of times) {
    if (out.length === count) break;
    out.push(time);
  }
  return out;
}

test("constant arrivals are evenly spaced from 0", () => {
  expect(take(arrivals({ kind: "constant", ratePerS: 4 }, makeRng(1)), 4)).toEqual([0, 250, 500, 750]);
});

test("Poisson gaps are exponential with the asked-for mean, and repeat by seed", () => {
  const load = { kind: "poisson", ratePerS: 10 } as const;
  const times = take(arrivals(load, makeRng(7)), 20_001);
  expect(times).toEqual(take(arrivals(load, makeRng(7)), 20_001));
  const gaps = times.slice(1).map((time, i) => time - times[i]!);
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length);
  expect(mean / 100).toBeCloseTo(1, 1);
  // An exponential's deviation is its mean, and e^-1 of it lies above the mean.
  expect(deviation / mean).toBeCloseTo(1, 1);
  expect(gaps.filter((gap) => gap > mean).length / gaps.length).toBeCloseTo(Math.exp(-1), 1);
});

test("a ramp's rate rises linearly and it ends with its duration", () => {
  const load = { kind: "ramp", fromPerS: 10, toPerS: 30, durationS: 100 } as const;
  const times = [...arrivals(load, makeRng(5))];
  const within = (fromS: number, toS: number): number =>
    times.filter((time) => time >= fromS * 1000 && time < toS * 1000).length;
  expect(Math.abs(times.length - 2000)).toBeLessThan(150);
  expect(Math.abs(within(0, 10) - 110)).toBeLessThan(40);
  expect(Math.abs(within(90, 100) - 290)).toBeLessThan(60);
  expect(times.at(-1)!).toBeLessThanOrEqual(100_000);
  expect(times.every((time, i) => i === 0 || time >= times[i - 1]!)).toBe(true);
});

test("a falling ramp and a flat one work too", () => {
  const falling = [...arrivals({ kind: "ramp", fromPerS: 30, toPerS: 1, durationS: 50 }, makeRng(2))];
  expect(Math.abs(falling.length - 775)).toBeLessThan(100);
  const flat = [...arrivals({ kind: "ramp", fromPerS: 10, toPerS: 10, durationS: 100 }, makeRng(2))];
  expect(Math.abs(flat.length - 1000)).toBeLessThan(110);
});

test("a trace starts at its first entry and plays at its speed", () => {
  expect([...traceArrivals([5000, 5200, 6000], 2)]).toEqual([0, 100, 500]);
  expect([...traceArrivals([], 1)]).toEqual([]);
});
