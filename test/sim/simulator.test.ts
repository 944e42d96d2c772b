import { expect, test } from "bun:test";
import { makeScenario } from "./scenario.ts";
import { simulate } from "./simulator.ts";

const SEEDS = 200;
/** `make sim` runs many more; these start elsewhere, so that both together cover more. */
const FIRST_SEED = 1_000_000;

test(`${SEEDS} seeded scenarios keep every promise`, () => {
  const total = { steps: 0, preemptions: 0, cachedTokens: 0, acceptedDrafts: 0, faults: 0, releasedBlocks: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    try {
      const result = simulate(makeScenario(seed));
      for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += result[name];
    } catch (error) {
      throw new Error(`bun test/sim/run.ts --seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  // The scenarios do meet what they are there for.
  for (const count of Object.values(total)) expect(count).toBeGreaterThan(100);
}, 60_000);

test("a seed repeats exactly", () => {
  expect(simulate(makeScenario(7))).toEqual(simulate(makeScenario(7)));
});
