import { expect, test } from "bun:test";
import { ServeError } from "../../src/core/errors.ts";
import type { GenerateEvent } from "../../src/core/generate.ts";
import { GenerationObserver, type GenerationSink } from "../../src/metrics/generation-observer.ts";

function observed() {
  let nowMs = 1000;
  const seen: unknown[] = [];
  const sink: GenerationSink = {
    firstToken: (seconds) => seen.push(["first", seconds]),
    interToken: (seconds) => seen.push(["gap", seconds]),
    end: (end) => seen.push(["end", end]),
    failed: (code) => seen.push(["failed", code]),
  };
  const observer = new GenerationObserver({ nowMs: () => nowMs, epochS: () => 0 }, sink);
  const at = (ms: number, event: GenerateEvent) => {
    nowMs = ms;
    observer.event(event);
  };
  return { seen, at, observer };
}

const delta = (index: number, tokens = 1): GenerateEvent => ({
  type: "text-delta",
  index,
  text: "",
  tokenIds: Array(tokens).fill(65),
  logprobs: undefined,
});
const end = (index: number, completionTokens: number, scheduledMs = 0): GenerateEvent => ({
  type: "end",
  index,
  finishReason: "length",
  stopReason: undefined,
  usage: { promptTokens: 1, completionTokens, cachedTokens: 0 },
  timings: { arrivedMs: 500, scheduledMs, firstTokenMs: 0, finishedMs: 0, preemptions: 0 },
});

test("first token once a request, gaps a choice, the rest at the end of each", () => {
  const { seen, at } = observed();
  at(1250, { type: "prompt", cachedTokens: 0, promptLogprobs: undefined });
  at(1500, delta(0));
  at(1600, delta(1));
  at(1750, delta(0));
  at(2100, delta(1, 3));
  at(2200, delta(1, 0));
  at(3000, end(0, 2, 750));
  at(4000, end(1, 4, 250));
  expect(seen).toEqual([
    ["first", 0.5],
    ["gap", 0.25],
    ["gap", 0.5],
    ["end", { reason: "length", endToEndS: 2, queueS: 0.25, tokens: 2, perTokenS: 0.25 }],
    // Timings of another machine's clock may run backwards.
    ["end", { reason: "length", endToEndS: 3, queueS: 0, tokens: 4, perTokenS: 0.5 / 3 }],
  ]);
});

test("one token has no gap, and a failure is counted by its code", () => {
  const { seen, at, observer } = observed();
  at(1500, delta(0));
  at(1600, end(0, 1, 500));
  observer.failed(new ServeError("overloaded", "full"));
  observer.failed(new Error("bug"));
  expect(seen.slice(1)).toEqual([
    ["end", { reason: "length", endToEndS: 0.6, queueS: 0, tokens: 1, perTokenS: undefined }],
    ["failed", "overloaded"],
    ["failed", "internal"],
  ]);
});
