import { expect, test } from "bun:test";
import { latenciesOf, summarize } from "../../../src/bench/stats/summary.ts";
import type { ErrorKind } from "../../../src/bench/types.ts";
import { makeRecord } from "../make-record.ts";

const failure = (kind: ErrorKind) => makeRecord({ error: { kind, detail: "" }, endMs: undefined, chunkMs: [] });
const repeat = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

test("latencies of a request", () => {
  const record = makeRecord({
    scheduledMs: 100,
    sentMs: 130,
    chunkMs: [150, 160, 160, 190],
    endMs: 195,
    outputTokens: 5,
  });
  // Counted from when it was due, not from when it was sent.
  expect(latenciesOf(record)).toEqual({ ttftMs: 50, itlMs: [10, 0, 30], tpotMs: 10, e2eMs: 95 });
  expect(latenciesOf({ ...record, chunkMs: [150], outputTokens: 1 })).toMatchObject({ itlMs: [], tpotMs: undefined });
  expect(latenciesOf(failure("cut"))).toBeUndefined();
});

test("throughput counts finished requests over the whole time", () => {
  const records = [
    ...repeat(8, () => makeRecord({ outputTokens: 10, promptTokens: 5, maxTokens: 10 })),
    failure("cut"),
    failure("http-503"),
    failure("cancelled"),
  ];
  const figures = summarize(records, 2000, undefined);
  expect(figures).toMatchObject({
    status: "ok",
    finished: 8,
    failed: 2,
    cancelled: 1,
    errors: { cut: 1, "http-503": 1 },
    requestsPerS: 4,
    outputTokensPerS: 40,
    totalTokensPerS: 60,
    exactLength: 8,
    goodput: undefined,
  });
});

test("goodput is the share of all requests within every limit", () => {
  const quick = makeRecord({ chunkMs: [10, 20], endMs: 20, outputTokens: 2 });
  const lateFirst = makeRecord({ chunkMs: [60, 70], endMs: 70, outputTokens: 2 });
  const slowTokens = makeRecord({ chunkMs: [10, 40], endMs: 40, outputTokens: 2 });
  const records = [quick, lateFirst, slowTokens, failure("timeout")];
  expect(summarize(records, 1000, { ttftMs: 50, tpotMs: 20 }).goodput).toEqual({ requestsPerS: 1, share: 0.25 });
  expect(summarize(records, 1000, { e2eMs: 50 }).goodput?.share).toBe(0.5);
});

test("the paper's Timeout: 9 of 10 unfinished in time", () => {
  const status = (finished: number, timeouts: number, refused = 0) =>
    summarize(
      [
        ...repeat(finished, () => makeRecord({})),
        ...repeat(timeouts, () => failure("timeout")),
        ...repeat(refused, () => failure("http-500")),
      ],
      1000,
      undefined,
    ).status;
  expect(status(2, 18)).toBe("timeout");
  expect(status(3, 17)).toBe("ok");
  expect(status(0, 4, 6)).toBe("error");
  expect(status(0, 5, 5)).toBe("timeout");
  expect(status(0, 0)).toBe("empty");
});

test("several tokens an event show", () => {
  const figures = summarize([makeRecord({ chunkMs: [10, 30], outputTokens: 8 })], 1000, undefined);
  expect(figures.tokensPerEvent).toBe(4);
});
