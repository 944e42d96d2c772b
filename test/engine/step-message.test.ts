import { expect, test } from "bun:test";
import { StepResult } from "../../src/backend/step-layout.ts";
import { emptyStats, FAIL, FINISH, floatBits, readPostedMs, readStats } from "../../src/engine/step-message.ts";
import { StepWriter } from "../../src/engine/step-writer.ts";
import { readStep } from "../../src/replica/step-reader.ts";
import { makeSequence } from "./fixture.ts";

test("what the engine writes the replica reads", () => {
  const writer = new StepWriter();
  const plain = makeSequence([1, 2, 3], { output: [40, 41] });
  const scored = makeSequence([1, 2, 3], { output: [50] });
  Object.assign(scored.group.sampling, { logprobs: 1, promptLogprobs: 2 });
  // Three rows of up to two alternatives: [ids 3][ranks 3][logprobs 3][top ids 3x2][top logprobs 3x2].
  const f = floatBits;
  const result = new StepResult(3, 2);
  result.words.set([
    ...[2, 3, 50],
    ...[7, 8, 9],
    ...[f(-1), f(-2), f(-0.5)],
    ...[11, 12, 21, 22, 31, -1],
    ...[f(-0.25), f(-0.75), f(-3), f(-4), f(-0.125), 0],
  ]);
  writer.started(plain, 16, 2.5);
  writer.tokens(plain, 3, FINISH.none, result, 0);
  writer.promptScores(scored, 2, result, 0);
  writer.tokens(scored, 3, FINISH.stop, result, 2);
  writer.preempted(plain);
  writer.failed(77, FAIL.overloaded, 9);
  const stats = { ...emptyStats(), running: 3, outputTokens: 2 ** 40, tokensPerS: 12.5, postedMs: 1234.5678 };
  const message = writer.take(stats);
  expect(writer.isEmpty).toBe(true);

  const seen: unknown[] = [];
  readStep(message, {
    started: (...args) => seen.push(["started", ...args]),
    tokens: (...args) => seen.push(["tokens", ...args]),
    promptScores: (...args) => seen.push(["prompt", ...args]),
    preempted: (...args) => seen.push(["preempted", ...args]),
    failed: (...args) => seen.push(["failed", ...args]),
  });
  expect(seen).toEqual([
    ["started", plain.id, 16, 2.5],
    ["tokens", plain.id, [40, 41], undefined, FINISH.none],
    [
      "prompt",
      scored.id,
      [
        {
          tokenId: 2,
          logprob: -1,
          rank: 7,
          top: [
            { tokenId: 11, logprob: -0.25 },
            { tokenId: 12, logprob: -0.75 },
          ],
        },
        {
          tokenId: 3,
          logprob: -2,
          rank: 8,
          top: [
            { tokenId: 21, logprob: -3 },
            { tokenId: 22, logprob: -4 },
          ],
        },
      ],
    ],
    [
      "tokens",
      scored.id,
      [50],
      [{ tokenId: 50, logprob: -0.5, rank: 9, top: [{ tokenId: 31, logprob: -0.125 }] }],
      FINISH.stop,
    ],
    ["preempted", plain.id],
    ["failed", 77, FAIL.overloaded, 9],
  ]);
  const read = emptyStats();
  readStats(message, read);
  expect(read).toEqual(stats);
  expect(readPostedMs(message)).toBe(stats.postedMs);
});

test("a message may be long, and an unknown record is an error", () => {
  const writer = new StepWriter();
  const long = makeSequence([1], { output: Array.from({ length: 20_000 }, (_, i) => i), maxTokens: 20_000 });
  writer.tokens(long, 1, FINISH.length, new StepResult(), 0);
  const message = writer.take(emptyStats());
  let count = 0;
  const handlers = { started() {}, promptScores() {}, preempted() {}, failed() {} };
  readStep(message, { ...handlers, tokens: (_id, tokenIds) => void (count = tokenIds.length) });
  expect(count).toBe(20_000);
  message[message.length - 20_000 - 5] = 99;
  expect(() => readStep(message, { ...handlers, tokens() {} })).toThrow("unknown kind 99");
});
