import { expect, test } from "bun:test";
import { Histogram, Registry } from "prom-client";
import { ModelHistogram } from "../../src/metrics/model-histogram.ts";

/** Values below, on, between and above the bounds. */
const BOUNDS = [0.1, 1, 10];
const VALUES = [0, 0.05, 0.1, 0.5, 1, 1.0001, 10, 11, 1e9];

test("reads exactly as prom-client's own histogram", async () => {
  const [ours, theirs] = [new Registry(), new Registry()];
  const fast = new ModelHistogram("a_seconds", "Help.", BOUNDS, ours);
  const slow = new Histogram({
    name: "a_seconds",
    help: "Help.",
    labelNames: ["model_name"],
    buckets: BOUNDS,
    registers: [theirs],
  });
  expect(await ours.metrics()).toBe(await theirs.metrics());
  for (const model of ["one", 'two "quoted"']) {
    const observe = fast.of(model);
    for (const value of VALUES) {
      observe(value);
      slow.observe({ model_name: model }, value);
    }
  }
  fast.of("one")(2);
  slow.observe({ model_name: "one" }, 2);
  expect(await ours.metrics()).toBe(await theirs.metrics());
  expect(await ours.metrics()).toContain('a_seconds_count{model_name="one"} 10');
});
