import { expect, test } from "bun:test";
import { CostModel } from "../../src/engine/cost-model.ts";
import { Random } from "../sim/random.ts";

const truth = (decodes: number, prefill: number, context: number) =>
  4 + 0.7 * decodes + 1.3 * prefill + (0.2 * context) / 1000;

/** Steps of all kinds, with noise of this relative size. */
function observe(model: CostModel, steps: number, noise: number, scale = 1): void {
  const random = new Random(3);
  for (let i = 0; i < steps; i++) {
    const decodes = random.integer(0, 64);
    const prefill = random.chance(0.5) ? random.integer(1, 512) : 0;
    const context = decodes * random.integer(10, 4000) + prefill * 200;
    const ms = scale * truth(decodes, prefill, context) * (1 + noise * (2 * random.next() - 1));
    model.observe(decodes, prefill, context, ms);
  }
}

test("learns what a step costs", () => {
  const model = new CostModel();
  observe(model, 200, 0);
  for (const [decodes, prefill, context] of [
    [1, 0, 500],
    [64, 448, 200_000],
    [0, 512, 50_000],
  ] as const) {
    expect(model.predictMs(decodes, prefill, context)).toBeCloseTo(truth(decodes, prefill, context), 1);
  }
  expect(model.deviation).toBeLessThan(0.01);
});

test("follows a device that becomes slower", () => {
  const model = new CostModel();
  observe(model, 500, 0.02);
  observe(model, 3000, 0.02, 2);
  expect(model.predictMs(32, 256, 60_000) / truth(32, 256, 60_000)).toBeCloseTo(2, 1);
});

test("a chunk fits its budget, two deviations included", () => {
  const model = new CostModel();
  observe(model, 500, 0.05);
  const tokens = model.prefillTokensWithin(200, 20, 30, 20_000, 500);
  const worst = truth(20, 30 + tokens, 20_000 + tokens * (500 + tokens / 2));
  expect(worst).toBeLessThan(200);
  expect(worst).toBeGreaterThan(160);
  expect(model.prefillTokensWithin(10, 20, 0, 20_000, 500)).toBeLessThanOrEqual(0);
  // Context makes a prompt's last tokens dearer than its first.
  expect(model.prefillTokensWithin(200, 0, 0, 0, 8000)).toBeLessThan(0.6 * model.prefillTokensWithin(200, 0, 0, 0, 0));
});

test("thousands of like steps do not upset it", () => {
  const model = new CostModel();
  observe(model, 200, 0);
  for (let i = 0; i < 100_000; i++) model.observe(8, 0, 4000, truth(8, 0, 4000));
  expect(model.predictMs(8, 0, 4000)).toBeCloseTo(truth(8, 0, 4000), 3);
  observe(model, 50, 0);
  expect(model.predictMs(32, 256, 60_000)).toBeCloseTo(truth(32, 256, 60_000), 0);
});

test("a slow spell of the machine is followed within a second, and forgotten as fast", () => {
  const model = new CostModel();
  observe(model, 2000, 0.02);
  observe(model, 12, 0.02, 1.6);
  const expected = truth(4, 64, 20_000);
  expect(model.predictMs(4, 64, 20_000) / expected).toBeGreaterThan(1.45);
  observe(model, 20, 0.02);
  expect(model.predictMs(4, 64, 20_000) / expected).toBeCloseTo(1, 1);
});

test("one late step moves the prediction little", () => {
  const model = new CostModel();
  observe(model, 2000, 0.02);
  const before = model.predictMs(1, 0, 200);
  model.observe(1, 0, 200, 20 * before);
  expect(model.predictMs(1, 0, 200) / before).toBeLessThan(1.2);
});

test("many short steps that were exact do not make a long one seem so", () => {
  const model = new CostModel();
  observe(model, 500, 0.3);
  const { deviation } = model;
  // 0.1 s of decode steps.
  for (let i = 0; i < 20; i++) model.observe(1, 0, 100, model.predictMs(1, 0, 100));
  expect(model.deviation).toBeGreaterThan(0.9 * deviation);
});
