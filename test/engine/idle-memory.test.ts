import { expect, test } from "bun:test";
import { LIMITS } from "../../src/config/limits.ts";
import { IdleMemory } from "../../src/engine/idle-memory.ts";
import { range } from "./fixture.ts";
import { Harness } from "./harness.ts";

const MINUTE_MS = 60_000;
/** Of MODEL: the KV of one request of full length, which is touched at first and kept. */
const KEPT = 256 / 16;

/** Lets time pass on an idle engine, as the Worker does: it sleeps as long as it is told, and not a call longer. */
function rest(harness: Harness, ms: number): number {
  const endMs = harness.clock.ms + ms;
  let calls = 0;
  for (;;) {
    const waitMs = harness.engine.rest();
    harness.engine.checkInvariants();
    calls++;
    if (waitMs > 0 && harness.clock.ms + waitMs > endMs) break;
    harness.clock.sleepUntil(harness.clock.ms + waitMs);
  }
  harness.clock.sleepUntil(endMs);
  return calls;
}

const resident = ({ engine }: Harness) => engine.scheduler.blocks.memory.numResident;
const cached = ({ engine }: Harness) => engine.scheduler.blocks.cache!.numCached;

/** Three prompts at once: 3 * 14 blocks in use, so that more than those kept are. */
function load(harness: Harness): void {
  for (const first of [0, 300, 600]) harness.add(range(first, first + 220), { maxTokens: 4 });
  harness.finish();
}

test("an idle engine touches the memory of one request first, in slices, and keeps it for ever", () => {
  const harness = new Harness();
  const touched: number[] = [];
  const slices = 3;
  harness.backend.touch = (numBlocks, from, most) => {
    expect([numBlocks, from]).toEqual([KEPT, touched.length * most]);
    touched.push(from);
    return touched.length < slices ? from + most : from + 1;
  };
  expect(resident(harness)).toBe(0);
  expect(harness.engine.rest()).toBe(0);
  // A request comes in between: the rest follows when it is done.
  harness.add(range(0, 10));
  harness.finish();
  expect(touched.length).toBe(1);
  rest(harness, 60 * MINUTE_MS);
  expect(touched.length).toBe(slices);
  expect(resident(harness)).toBe(KEPT);
  expect(harness.engine.stats.kvBlocksResident).toBe(KEPT);
});

test("what it touches is bounded, workspace included", () => {
  const numBlocks = (workspaceBytes: number, kvBlockBytes: number) => {
    const harness = new Harness();
    const { backend, engine } = harness;
    Object.assign(backend.info, { workspaceBytes, kvBlockBytes });
    let asked = -1;
    backend.touch = (blocks, from) => {
      asked = blocks;
      return from;
    };
    new IdleMemory(backend, engine.scheduler.blocks, { timeoutMs: 0 }).tend(0);
    return asked;
  };
  const bound = LIMITS.maxWarmBytes;
  expect(numBlocks(0, 64)).toBe(KEPT);
  expect(numBlocks(0, bound / 4)).toBe(4);
  expect(numBlocks(bound / 2, bound / 4)).toBe(2);
  expect(numBlocks(2 * bound, 64)).toBe(0);
});

test("free blocks go back soon, cached ones when nobody used them for the timeout", () => {
  const harness = new Harness({ kvIdleTimeoutMs: 5 * MINUTE_MS });
  load(harness);
  const used = resident(harness);
  expect(used).toBeGreaterThan(2 * KEPT);
  const kept = cached(harness);
  expect(kept).toBe(3 * 13);
  rest(harness, 30_000);
  // The last block of each prompt was not full.
  expect(resident(harness)).toBeLessThan(used);
  expect(cached(harness)).toBe(kept);
  rest(harness, 4 * MINUTE_MS);
  expect(cached(harness)).toBe(kept);
  // A prefix that is used again stays for another while; the others go.
  harness.add(range(0, 220), { maxTokens: 4 });
  harness.finish();
  expect(harness.outcomes[3]!.cachedTokens).toBe(13 * 16);
  rest(harness, MINUTE_MS);
  expect(cached(harness)).toBe(13);
  expect(resident(harness)).toBeLessThanOrEqual(KEPT + 13);
  // It comes to an end, and then costs nothing.
  expect(rest(harness, 10 * MINUTE_MS)).toBeLessThan(20);
  expect([cached(harness), resident(harness)]).toEqual([0, KEPT]);
  expect(harness.engine.rest()).toBe(Number.POSITIVE_INFINITY);
  // Everything is computed again from there.
  load(harness);
  for (const [i, first] of [0, 300, 600].entries()) {
    expect(harness.outcomes[4 + i]!.tokens).toEqual(harness.expected(range(first, first + 220), { maxTokens: 4 }));
  }
});

test("timeout 0: nothing is given back", () => {
  const harness = new Harness({ kvIdleTimeoutMs: 0 });
  harness.backend.release = () => expect.unreachable();
  load(harness);
  const used = resident(harness);
  rest(harness, 100 * MINUTE_MS);
  expect(resident(harness)).toBeGreaterThanOrEqual(used);
  expect(cached(harness)).toBe(3 * 13);
});

test("blocks that were found unused and are used meanwhile stay", () => {
  const harness = new Harness({ prefixCaching: false });
  load(harness);
  harness.clock.ms += MINUTE_MS;
  const released: number[] = [];
  const { release } = harness.backend;
  harness.backend.release = (first, count) => {
    for (let i = 0; i < count; i++) released.push(first + i);
    release.call(harness.backend, first, count);
  };
  // Touching, looking, and one slice: then a request comes, to which any of them may belong.
  while (released.length === 0) harness.engine.rest();
  load(harness);
  expect(harness.outcomes.slice(3).map(({ tokens }) => tokens)).toEqual(
    [0, 300, 600].map((first) => harness.expected(range(first, first + 220), { maxTokens: 4 })),
  );
});

test("after a rest, blocks that kept their memory are handed out first", () => {
  const harness = new Harness({ prefixCaching: false });
  load(harness);
  rest(harness, MINUTE_MS);
  expect(resident(harness)).toBe(KEPT);
  for (let i = 0; i < 5; i++) {
    harness.add(range(7 * i, 7 * i + 220), { maxTokens: 4 });
    harness.finish();
  }
  expect(resident(harness)).toBe(KEPT);
});
