import { expect, test } from "bun:test";
import {
  arrivals,
  CPU_LIKE,
  itlsMs,
  type LoadRequest,
  merge,
  ofKind,
  quantile,
  serveLoad,
  ttftMs,
} from "./load-run.ts";

const flood = (kind: string, count: number, promptTokens: number, outputTokens: number, rest = {}): LoadRequest[] =>
  Array.from({ length: count }, () => ({ atMs: 0, kind, promptTokens, outputTokens, ...rest }));

test("short prompts among long ones at 70% load: p99 TTFT under 4 times idle, ITL under its target", () => {
  const idle = serveLoad([{ atMs: 0, kind: "short", promptTokens: 128, outputTokens: 16 }]);
  const idleMs = ttftMs(idle.served[0]!);
  // What one long request costs the device, decodes in company included.
  const longMs = 2048 + 64 * 1.5;
  const load = merge(
    arrivals(1, longMs / 0.7, 600_000, { kind: "long", promptTokens: 2048, outputTokens: 64 }),
    arrivals(2, 2000, 600_000, { kind: "short", promptTokens: 128, outputTokens: 32 }),
  );
  for (const asyncScheduling of [true, false]) {
    const result = serveLoad(load, { itlTargetMs: 100, asyncScheduling });
    expect(quantile(ofKind(result, "short").map(ttftMs), 0.99)).toBeLessThan(4 * idleMs);
    expect(quantile(result.served.flatMap(itlsMs), 0.99)).toBeLessThan(100);
  }
});

test("a flood of long prompts does not hold up a short one", () => {
  const load = merge(flood("long", 40, 8192, 8), [{ atMs: 5000, kind: "short", promptTokens: 100, outputTokens: 8 }]);
  // A step in flight, the step it comes into, and its neighbour's part of that.
  expect(ttftMs(ofKind(serveLoad(load), "short")[0]!)).toBeLessThan(3 * 600);
});

test("a flood of short prompts does not hold up a long one", () => {
  const load = merge(flood("short", 3000, 100, 4), [{ atMs: 1000, kind: "long", promptTokens: 8192, outputTokens: 4 }]);
  const result = serveLoad(load);
  const long = ofKind(result, "long")[0]!;
  const allMs = Math.max(...result.served.map(({ endMs }) => endMs));
  // It gets half of the prefill while the flood lasts: 16 s of its own 8 s, plus decodes; the flood takes far longer.
  expect(ttftMs(long)).toBeLessThan(26_000);
  expect(allMs).toBeGreaterThan(300_000);
});

test("a long prompt gets its blocks although short ones keep the cache full", () => {
  // 8 blocks of 16 tokens for each short one; the long one needs most of all there are.
  const backend = { ...CPU_LIKE, maxModelLen: 2048, numBlocks: 136 };
  const load = merge(flood("short", 400, 100, 20), [{ atMs: 100, kind: "long", promptTokens: 1900, outputTokens: 4 }]);
  const result = serveLoad(load, {}, backend);
  const before = ofKind(result, "short").filter(({ endMs }) => endMs < ofKind(result, "long")[0]!.endMs).length;
  expect(before).toBeLessThan(150);
});

test("tenants share the device whatever one of them asks for", () => {
  const load = merge(
    flood("greedy", 400, 200, 30, { tenant: "greedy" }),
    flood("modest", 60, 200, 30, { tenant: "modest" }),
  );
  const result = serveLoad(load, { maxNumSeqs: 16 });
  // Both wait from the start; the modest one is done when about as much was done for the greedy one.
  const modestMs = Math.max(...ofKind(result, "modest").map(({ endMs }) => endMs));
  const greedyDone = ofKind(result, "greedy").filter(({ endMs }) => endMs <= modestMs).length;
  expect(greedyDone).toBeGreaterThan(40);
  expect(greedyDone).toBeLessThan(85);
});

test("a tenant with longer prompts has fewer of them computed", () => {
  const load = merge(
    flood("greedy", 200, 250, 1, { tenant: "greedy" }),
    flood("modest", 120, 50, 1, { tenant: "modest" }),
  );
  const result = serveLoad(load, { maxNumBatchedTokens: 64 });
  const modestMs = Math.max(...ofKind(result, "modest").map(({ endMs }) => endMs));
  const greedyTokens = 250 * ofKind(result, "greedy").filter(({ endMs }) => endMs <= modestMs).length;
  expect(greedyTokens).toBeGreaterThan(0.7 * 120 * 50);
  expect(greedyTokens).toBeLessThan(1.3 * 120 * 50);
});

test("a tenant gains nothing by asking for long answers, or by mixing lengths", () => {
  const load = merge(
    flood("greedy", 100, 100, 300, { tenant: "greedy" }),
    flood("greedy", 20, 1500, 300, { tenant: "greedy" }),
    flood("modest", 100, 100, 30, { tenant: "modest" }),
  );
  const result = serveLoad(load, { maxNumSeqs: 16 });
  const modestMs = Math.max(...ofKind(result, "modest").map(({ endMs }) => endMs));
  const tokensBy = (kind: string) =>
    ofKind(result, kind).reduce((sum, one) => {
      const output = one.tokenMs.filter((ms) => ms <= modestMs).length;
      return sum + output + (output > 0 ? one.request.promptTokens : 0);
    }, 0);
  expect(tokensBy("greedy") / tokensBy("modest")).toBeLessThan(1.5);
});

test("a lower priority value goes first and takes the place of a higher one", () => {
  const load = merge(flood("later", 40, 500, 1000, { priority: 1 }), [
    { atMs: 3000, kind: "urgent", promptTokens: 500, outputTokens: 10, priority: 0 },
  ]);
  const result = serveLoad(load, { maxNumSeqs: 4 });
  expect(ttftMs(ofKind(result, "urgent")[0]!)).toBeLessThan(3 * 600);
  expect(result.stats.preemptions).toBe(1);
});

test("of shared prefixes only the first is computed", () => {
  const shared = 700;
  const load = Array.from({ length: 40 }, (_, i) => ({
    atMs: i * 3000,
    kind: "chat",
    promptTokens: 1000,
    outputTokens: 4,
    prefix: { id: 1, tokens: shared },
  }));
  const { stats } = serveLoad(load);
  const prompts = 40 * 1000;
  expect(stats.promptTokens).toBe(prompts);
  const blocks = Math.floor(shared / CPU_LIKE.blockSize) * CPU_LIKE.blockSize;
  expect(stats.cachedTokens).toBe(39 * blocks);
  // All that was computed: what was not cached, and the outputs but the last token of each.
  expect(stats.computedTokens).toBe(prompts - 39 * blocks + 40 * 3);
});

test("throughput does not fall from 1 to 64 streams", () => {
  let best = 0;
  for (const streams of [1, 2, 4, 8, 16, 32, 64]) {
    const result = serveLoad(flood("stream", streams, 62, 64));
    const rate = (streams * 64) / Math.max(...result.served.map(({ endMs }) => endMs));
    expect(rate).toBeGreaterThan(0.97 * best);
    best = Math.max(best, rate);
  }
});

test("the step that ends a short prompt is not filled up with a long one", () => {
  const load = merge(flood("long", 4, 8192, 8), [{ atMs: 5060, kind: "short", promptTokens: 100, outputTokens: 8 }]);
  const result = serveLoad(load, { itlTargetMs: 100 });
  // Up to 90 ms each of a step in flight and of its own first, then only what is left.
  expect(ttftMs(ofKind(result, "short")[0]!)).toBeLessThan(90 + 90 + 20);
});
