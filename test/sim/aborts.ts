import { FakeBackend } from "../../src/backend/fake-backend.ts";
import { Engine } from "../../src/engine/engine.ts";
import { DEFAULT_ENGINE_OPTIONS } from "../../src/engine/engine-options.ts";
import { GREEDY } from "../engine/fixture.ts";
import { CPU_LIKE } from "./load-run.ts";
import { Random } from "./random.ts";
import { VirtualClock } from "./simulator.ts";

/**
 * Starts requests and aborts every one of them: while it waits, in the middle of its prefill, or as it decodes, some
 * with several choices. Throws if a block, slot, account or sequence is left, or the books are ever wrong.
 * Returns the engine's steps.
 */
export function abortMany(count: number, seed: number): number {
  const random = new Random(seed);
  const clock = new VirtualClock();
  const backend = new FakeBackend({ ...CPU_LIKE, maxModelLen: 512, numBlocks: 200 }, clock, clock.sleepUntil);
  const options = { ...DEFAULT_ENGINE_OPTIONS, maxQueue: 1e9, maxNumSeqs: 32, maxNumBatchedTokens: 128 };
  const engine = new Engine(backend, options, clock, () => {});
  const live: number[][] = [];
  let numIds = 0;
  for (let i = 0; i < count; ) {
    const arrivals = Math.min(count - i, random.integer(0, 60));
    for (let k = 0; k < arrivals; k++, i++) {
      const ids = Array.from({ length: random.chance(0.1) ? 3 : 1 }, () => numIds++);
      engine.add({
        type: "add",
        prompt: Int32Array.from({ length: random.integer(1, 100) }, () => random.integer(0, 99)),
        sampling: SAMPLING,
        priority: random.integer(0, 2),
        tenant: random.pick(["a", "b"]),
        deadlineInMs: random.chance(0.5) ? 1e9 : undefined,
        choices: ids.map((id, index) => ({ id, index, outputTokens: new Int32Array(0) })),
      });
      live.push(ids);
    }
    engine.runOnce();
    if (random.chance(0.01)) engine.checkInvariants();
    while (live.length > 100) for (const id of live.splice(random.integer(0, live.length - 1), 1)[0]!) engine.abort(id);
  }
  for (const ids of live) for (const id of ids) engine.abort(id);
  while (engine.runOnce());
  engine.checkInvariants();
  const { scheduler } = engine;
  const left = {
    sequences: engine.numLive,
    blocks: scheduler.blocks.numUsed,
    slots: scheduler.slots.size - scheduler.slots.numFree,
    waiting: scheduler.queue.length + scheduler.queue.numTokens,
    running: scheduler.running.size,
  };
  if (Object.values(left).some((value) => value !== 0)) throw new Error(`left over: ${JSON.stringify(left)}`);
  return engine.stats.steps;
}

const SAMPLING = { ...GREEDY, maxTokens: 400 };

if (import.meta.main) {
  const count = Number(process.argv[2] ?? 1_000_000);
  const before = process.memoryUsage.rss();
  const steps = abortMany(count, 1);
  Bun.gc(true);
  const grown = (process.memoryUsage.rss() - before) / 1024 ** 2;
  console.log(`${count} requests aborted over ${steps} steps, nothing left; memory grew by ${grown.toFixed(0)} MiB`);
}
