import { makeScenario } from "./scenario.ts";
import { type SimResult, simulate } from "./simulator.ts";

/**
 * bun test/sim/run.ts [--seeds COUNT] [--first SEED] [--seed SEED]
 * Runs scenarios first, first + 1, ...; --seed runs one. A failure prints the command that repeats it.
 */
function flag(name: string, value: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? value : Number(process.argv[at + 1]);
}

const one = flag("seed", -1);
const first = one >= 0 ? one : flag("first", 1);
const count = one >= 0 ? 1 : flag("seeds", 200);
const total: { -readonly [Name in keyof SimResult]: number } = {
  steps: 0,
  tokens: 0,
  preemptions: 0,
  cachedTokens: 0,
  acceptedDrafts: 0,
  faults: 0,
  releasedBlocks: 0,
};
const startMs = performance.now();
let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  try {
    const result = simulate(makeScenario(seed));
    for (const name of Object.keys(total) as (keyof SimResult)[])
      (total as Record<string, number>)[name]! += result[name];
  } catch (error) {
    failed++;
    console.error(`seed ${seed}: ${one >= 0 ? (error as Error).stack : (error as Error).message}`);
    console.error(`  repeat: bun test/sim/run.ts --seed ${seed}`);
  }
}
const seconds = (performance.now() - startMs) / 1000;
console.log(
  `${count - failed} of ${count} seeds passed in ${seconds.toFixed(1)} s: ${total.steps} steps ` +
    `(${Math.round(total.steps / seconds)} a second), ${total.tokens} tokens, ${total.preemptions} preemptions, ` +
    `${total.cachedTokens} cached tokens, ${total.acceptedDrafts} accepted drafts, ${total.faults} faults, ` +
    `${total.releasedBlocks} blocks given back`,
);
process.exit(failed === 0 ? 0 : 1);
