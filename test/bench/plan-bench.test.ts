import { describe, expect, test } from "bun:test";
import {
  type BenchOptions,
  durationOf,
  parseEndpoint,
  parseSlo,
  planCells,
  planWorkload,
  sessionsOfCell,
} from "../../src/bench/plan-bench.ts";

const NONE = {} as BenchOptions;
const labels = (options: Partial<BenchOptions>): string[] =>
  planCells({ ...NONE, ...options }).map((cell) => cell.label);
const sessions = (options: Partial<BenchOptions>): number[] => {
  const all = { ...NONE, ...options };
  return planCells(all).map(sessionsOfCell(all, planWorkload(all)));
};

describe("loads", () => {
  test("by default a closed loop up to 64, three waves each", () => {
    expect(labels({})).toEqual(["c=1", "c=2", "c=4", "c=8", "c=16", "c=32", "c=64"]);
    expect(sessions({})).toEqual([16, 16, 16, 24, 48, 96, 192]);
    expect(durationOf(NONE)).toBe(Number.POSITIVE_INFINITY);
  });

  test("rates, ramps and limits", () => {
    expect(labels({ rate: "1,2.5" })).toEqual(["poisson 1/s", "poisson 2.5/s"]);
    expect(labels({ rate: "4", arrivals: "constant" })).toEqual(["constant 4/s"]);
    expect(planCells({ ...NONE, ramp: "1-20", duration: "60" })[0]).toMatchObject({
      label: "ramp 1-20/s",
      x: 20,
      load: { kind: "ramp", durationS: 60 },
    });
    expect(durationOf({ ...NONE, rate: "1" })).toBe(30_000);
    expect(durationOf({ ...NONE, rate: "1", requests: "5" })).toBe(Number.POSITIVE_INFINITY);
    expect(sessions({ concurrency: "2,4", requests: "7" })).toEqual([7, 7]);
  });

  test("a trace has as many requests as entries", () => {
    const trace =
      '{"timestamp":0,"input_length":5,"output_length":5}\n{"timestamp":9,"input_length":5,"output_length":5}';
    expect(labels({ trace, speed: "2" })).toEqual(["trace x2"]);
    expect(sessions({ trace })).toEqual([2]);
    expect(sessions({ trace, requests: "1" })).toEqual([1]);
  });

  test("contradictions and nonsense name the option", () => {
    const wrong: Array<readonly [Partial<BenchOptions>, string]> = [
      [{ rate: "1", concurrency: "1" }, "--concurrency"],
      [{ concurrency: "1,1" }, "--concurrency"],
      [{ concurrency: "0" }, "--concurrency"],
      [{ concurrency: "1.5" }, "--concurrency"],
      [{ concurrency: "100000" }, "--concurrency"],
      [{ rate: "x" }, "--rate"],
      [{ rate: "1", arrivals: "bursts" }, "--arrivals"],
      [{ ramp: "3" }, "--ramp"],
    ];
    for (const [options, name] of wrong) expect(() => labels(options)).toThrow(name);
    expect(() => planWorkload({ ...NONE, turns: "0" })).toThrow("--turns");
    expect(() => planWorkload({ ...NONE, seed: "-1" })).toThrow("--seed");
  });
});

describe("endpoints", () => {
  const parts = (text: string) => {
    const { label, baseUrl, model } = parseEndpoint(text);
    return [label, baseUrl.href, model];
  };

  test("label, path and model", () => {
    expect(parts("http://h:8000")).toEqual(["h:8000", "http://h:8000/v1", undefined]);
    expect(parts("h:8000")).toEqual(["h:8000", "http://h:8000/v1", undefined]);
    expect(parts("fast=https://h/api/v1#ORG/NAME")).toEqual(["fast", "https://h/api/v1", "ORG/NAME"]);
    expect(parts("a=http://h/v1?x=y")).toEqual(["a", "http://h/v1?x=y", undefined]);
    expect(() => parseEndpoint("a=http://")).toThrow("URL");
  });
});

test("an SLO has one limit at least", () => {
  expect(parseSlo("ttft=500,tpot=50")).toEqual({ ttftMs: 500, tpotMs: 50 });
  expect(() => parseSlo("ttfb=1")).toThrow("--slo");
  expect(() => parseSlo("")).toThrow("--slo");
});
