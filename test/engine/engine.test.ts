import { expect, test } from "bun:test";
import { FAIL, FINISH } from "../../src/engine/step-message.ts";
import { range } from "./fixture.ts";
import { Harness, MODEL, shape } from "./harness.ts";

test("decodes come first in a step, prefill fills the rest, and prompts go through in chunks", () => {
  const harness = new Harness({ asyncScheduling: false });
  harness.add(range(0, 10));
  harness.turn();
  harness.add(range(100, 250));
  harness.turn(3);
  expect(harness.steps.map(shape)).toEqual([[10], [1, 63], [1, 63], [1, 24]]);
  // The middle of a prefill has no logits.
  expect(harness.steps.map(({ numRows }) => numRows)).toEqual([1, 1, 1, 2]);
  harness.finish();
  expect(harness.outcomes[1]!.tokens).toEqual(harness.expected(range(100, 250)));
});

test("asynchronously, a step is submitted before the tokens of the one before are known", () => {
  const harness = new Harness({ asyncScheduling: true });
  harness.add(range(0, 10), { maxTokens: 4 });
  harness.turn(2);
  expect(harness.steps.length).toBe(2);
  expect(harness.steps[1]!.inputIds[0]).toBe(-1 - harness.steps[0]!.rowSlots[0]!);
  expect(harness.outcomes[0]!.tokens.length).toBe(1);
  harness.finish();
  // The last token is foreseen by count: no step is wasted on a fifth.
  expect(harness.steps.length).toBe(4);
  expect(harness.outcomes[0]).toMatchObject({
    tokens: harness.expected(range(0, 10), { maxTokens: 4 }),
    finish: FINISH.length,
  });
});

test("a stop id ends a sequence a step late and lets no token slip out", () => {
  const probe = new Harness().expected(range(0, 10), { maxTokens: 20 });
  const sampling = { maxTokens: 20, stopIds: Int32Array.from([probe[5]!]) };
  for (const asyncScheduling of [true, false]) {
    const harness = new Harness({ asyncScheduling });
    harness.add(range(0, 10), sampling);
    harness.finish();
    const stop = probe.indexOf(probe[5]!);
    expect(harness.outcomes[0]).toMatchObject({ tokens: probe.slice(0, stop + 1), finish: FINISH.stop });
    expect(harness.steps.length).toBe(stop + 1 + (asyncScheduling ? 1 : 0));
  }
});

test("min_tokens holds back stop ids", () => {
  const probe = new Harness().expected(range(0, 10), { maxTokens: 20 });
  const sampling = { maxTokens: 20, minTokens: 10, stopIds: Int32Array.from([probe[3]!]) };
  const harness = new Harness();
  harness.add(range(0, 10), sampling);
  harness.finish();
  expect(harness.outcomes[0]!.tokens.length).toBeGreaterThanOrEqual(10);
  expect(harness.outcomes[0]!.tokens).toEqual(harness.expected(range(0, 10), sampling));
});

test("choices beyond the slots wait for them, and all get what they would alone", () => {
  const harness = new Harness({ maxNumSeqs: 3 });
  const sampling = { temperature: 1, seed: 5 };
  harness.add(range(0, 20), sampling, { n: 8 });
  harness.finish();
  harness.outcomes.forEach((outcome, index) => {
    expect(outcome.tokens).toEqual(harness.expected(range(0, 20), sampling, index));
  });
  expect(Math.max(...harness.steps.map(({ numSeqs }) => numSeqs))).toBe(3);
});

test("the choices of a prompt compute it once", () => {
  const harness = new Harness({ prefixCaching: false, asyncScheduling: false });
  harness.add(range(0, 40), { maxTokens: 1 }, { n: 3 });
  harness.add(range(50, 90), { maxTokens: 2 }, { n: 3 });
  harness.finish();
  // The first request's choice 0 was over before its siblings could share its blocks: they compute it again.
  const computed = harness.steps.reduce((sum, { numTokens }) => sum + numTokens, 0);
  expect(computed).toBe(3 * 40 + (40 + 2 * 1) + 3);
  expect(harness.steps.some(({ copies }) => copies.length === 4)).toBe(true);
});

test("a cached count tells a tenant nothing of what another asked, unless they share", () => {
  for (const sharePrefixCache of [false, true]) {
    const harness = new Harness({ prefixCaching: true, sharePrefixCache });
    // One after the other: a tenant that has gone keeps what is its own, and nobody inherits it.
    for (const tenant of ["a", "b", "a"]) {
      harness.add(range(0, 40), {}, { tenant });
      harness.finish();
    }
    expect(harness.outcomes.map(({ cachedTokens }) => cachedTokens)).toEqual([0, sharePrefixCache ? 32 : 0, 32]);
  }
});

test("prompt logprobs: every prompt token once, whatever the room for rows, without the cache", () => {
  const harness = new Harness();
  harness.add(range(0, 100));
  harness.finish();
  harness.add(range(0, 100), { promptLogprobs: 0 }, { n: 2 });
  harness.finish();
  expect(harness.outcomes[1]!.scores).toEqual(range(1, 100));
  expect(harness.outcomes[1]!.cachedTokens).toBe(0);
  expect(harness.outcomes[2]!.scores).toEqual([]);
  expect(Math.max(...harness.steps.map(({ numRows }) => numRows))).toBe(MODEL.maxLogitRows);
});

test("when blocks run out the youngest of the lowest priority gives way, and its output is the same", () => {
  // Three of four blocks each at the start; eight blocks do not do for their growth.
  const harness = new Harness({ prefixCaching: false }, { numBlocks: 16, maxModelLen: 256 });
  const prompts = [range(0, 60), range(100, 160), range(200, 260)];
  const sampling = { maxTokens: 40 };
  harness.add(prompts[0]!, sampling, { priority: 1 });
  harness.add(prompts[1]!, sampling, { priority: 0 });
  harness.add(prompts[2]!, sampling, { priority: 1 });
  harness.finish();
  expect(harness.outcomes.map(({ preemptions }) => preemptions > 0)).toEqual([false, false, true]);
  harness.outcomes.forEach((outcome, i) => {
    expect(outcome.tokens).toEqual(harness.expected(prompts[i]!, sampling));
  });
});

test("drafts are verified in the step, speed it up, and change nothing", () => {
  const model = { predictability: 0.9, vocabSize: 40 };
  const sampling = { maxTokens: 150 };
  const plain = new Harness({ asyncScheduling: false }, model);
  const drafting = new Harness({ speculativeTokens: 4 }, model);
  for (const harness of [plain, drafting]) {
    harness.add(range(0, 30), sampling);
    harness.add(range(5, 35), { ...sampling, temperature: 1, seed: 3, repetitionPenalty: 1.2, logprobs: 2 });
    harness.finish();
  }
  expect(drafting.outcomes.map(({ tokens }) => tokens)).toEqual(plain.outcomes.map(({ tokens }) => tokens));
  const { acceptedDraftTokens, draftTokens } = drafting.engine.stats;
  expect(acceptedDraftTokens).toBeGreaterThan(50);
  expect(draftTokens).toBeGreaterThan(acceptedDraftTokens);
  expect(drafting.steps.length).toBeLessThan(0.8 * plain.steps.length);
});

test("under an ITL target chunks shrink as streams join, and never under a block", () => {
  const harness = new Harness(
    { itlTargetMs: 20, maxNumBatchedTokens: 256, asyncScheduling: false, prefixCaching: false },
    { maxBatchedTokens: 256, numBlocks: 256, cost: { stepMs: 2, decodeMs: 1, prefillMs: 0.2, contextMs: 0 } },
  );
  // Lengths vary, so that the cost of a step can be learnt.
  for (let i = 0; i < 60; i++) {
    harness.add(range(i, i + 3 + ((i * 37) % 150)), { maxTokens: 1 + (i % 5) });
    harness.turn(3);
  }
  harness.finish();
  const chunkWith = (streams: number) => {
    for (let i = 0; i < streams; i++) harness.add([i, 1, 2], { maxTokens: 60 });
    harness.turn(3);
    const before = harness.steps.length;
    harness.add(range(500, 740), { maxTokens: 1 });
    harness.turn(1);
    const chunk = Math.max(...shape(harness.steps[before]!));
    harness.finish();
    return chunk;
  };
  // 0.9 of 20 ms: (18 - 2 - streams) / 0.2 tokens.
  expect(chunkWith(1)).toBeGreaterThan(65);
  expect(chunkWith(1)).toBeLessThanOrEqual(75);
  expect(chunkWith(7)).toBeGreaterThan(35);
  expect(chunkWith(7)).toBeLessThanOrEqual(45);
  const slow = new Harness({ itlTargetMs: 1, asyncScheduling: false }, { cost: { ...MODEL.cost, stepMs: 50 } });
  slow.add([1, 2, 3], { maxTokens: 30 });
  slow.turn(2);
  slow.add(range(0, 60));
  slow.turn();
  expect(shape(slow.steps.at(-1)!)).toEqual([1, MODEL.blockSize]);
});

test("what can never fit, what is too late and what is too much is refused", () => {
  const harness = new Harness({ maxQueue: 2, maxNumSeqs: 1 });
  expect(harness.outcomes[harness.add(range(0, 256))]!.failed).toBe(FAIL.tooLong);
  harness.add(range(0, 5), { maxTokens: 50 });
  harness.turn();
  harness.add(range(0, 5), {}, { deadlineInMs: 3 });
  harness.add(range(0, 5));
  expect(harness.outcomes[harness.add(range(0, 5))]!.failed).toBe(FAIL.overloaded);
  // One that has output already was admitted once.
  const begun = { id: harness.outcomes.length, index: 0, outputTokens: Int32Array.of(1, 2) };
  harness.add(range(0, 5), {}, { choices: [begun] });
  harness.finish();
  const outcomes = [FAIL.tooLong, 0, FAIL.deadline, 0, FAIL.overloaded, 0];
  expect(harness.outcomes.map(({ failed }) => failed)).toEqual(outcomes);
});

test("a deadline ends a running sequence too", () => {
  const harness = new Harness();
  harness.add(range(0, 5), { maxTokens: 200 }, { deadlineInMs: 20 });
  harness.finish();
  expect(harness.outcomes[0]!.failed).toBe(FAIL.deadline);
  expect(harness.outcomes[0]!.tokens.length).toBeGreaterThan(5);
  expect(harness.clock.ms).toBeLessThan(30);
});

test("the longest context is used to its last token", () => {
  const harness = new Harness();
  harness.add(range(0, 250), { maxTokens: 1000 });
  harness.finish();
  expect(harness.outcomes[0]).toMatchObject({ finish: FINISH.length });
  expect(harness.outcomes[0]!.tokens.length).toBe(6);
});

for (const asyncScheduling of [true, false]) {
  test(`the time between steps is measured, ${asyncScheduling ? "" : "not "}asynchronously`, () => {
    const harness = new Harness({ asyncScheduling });
    harness.add(range(0, 5));
    harness.turn(3);
    // Asynchronously a step of one decode is in flight, which ends 7 ms before the next is decided.
    const { stepMs, decodeMs } = MODEL.cost;
    harness.clock.sleepUntil(harness.clock.ms + (asyncScheduling ? stepMs + decodeMs : 0) + 7);
    harness.finish();
    expect(harness.engine.stats.gapMs).toBeCloseTo(7, 5);
  });
}
