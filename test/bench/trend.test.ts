import { expect, test } from "bun:test";
import { fitTrend } from "../../bench/engine/trend.ts";
import { Random } from "../sim/random.ts";

test("a line is found exactly and its error is nothing", () => {
  const samples = Array.from({ length: 125 }, (_, i) => ({ x: i / 60, y: 500 + (3 * i) / 60 }));
  const { slope, standardError } = fitTrend(samples, 20);
  expect(slope).toBeCloseTo(3, 9);
  expect(standardError).toBeCloseTo(0, 9);
});

test("the error covers what samples that go up and down together do to the slope", () => {
  const random = new Random(7);
  let covered = 0;
  for (let run = 0; run < 200; run++) {
    let noise = 0;
    const samples = Array.from({ length: 400 }, (_, i) => {
      // Independent again after about 10 samples: half a point.
      noise = 0.9 * noise + random.integer(-10, 10);
      return { x: i / 60, y: 500 + (2 * i) / 60 + noise };
    });
    const { slope, standardError } = fitTrend(samples, 20);
    if (Math.abs(slope - 2) <= 2 * standardError) covered++;
  }
  // 94% where points are independent; these nearly are.
  expect(covered).toBeGreaterThan(160);
  expect(covered).toBeLessThan(200);
});

test("fewer than three points tell no error", () => {
  expect(() => fitTrend(new Array(59).fill({ x: 0, y: 0 }), 20)).toThrow("too few");
});
