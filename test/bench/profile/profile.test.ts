import { describe, expect, test } from "bun:test";
import { breakdownOf } from "../../../src/bench/profile/breakdown.ts";
import { chromeTrace, clientSpans } from "../../../src/bench/profile/chrome-trace.ts";
import { profileReport } from "../../../src/bench/profile/profile-report.ts";
import {
  differenceOf,
  type EngineSnapshot,
  emptyEngineSnapshot,
  type StageSnapshot,
  sumOf,
} from "../../../src/bench/profile/stage-source.ts";
import { summarize } from "../../../src/bench/stats/summary.ts";
import { describeLoad } from "../../../src/bench/types.ts";
import { makeRecord } from "../make-record.ts";
import { makeResults } from "../make-results.ts";

const engine = (fields: Partial<EngineSnapshot>): EngineSnapshot => ({ ...emptyEngineSnapshot(), ...fields });
const kernel = (ms: number) => ({ ms, bytes: ms * 1e6, ops: ms * 2e6 });

test("snapshots subtract and add counter by counter, new ones from 0", () => {
  const a = engine({ steps: 3, kernels: { qkv: kernel(2) } });
  const b = engine({ steps: 10, kernels: { qkv: kernel(5), o: kernel(1) } });
  expect(differenceOf(a, b)).toEqual(engine({ steps: 7, kernels: { qkv: kernel(3), o: kernel(1) } }));
  expect(sumOf(a, b)).toEqual(engine({ steps: 13, kernels: { qkv: kernel(7), o: kernel(1) } }));
});

/** Two requests, sent at 100 and 200; first tokens after 50 and 70 ms, then three gaps of 10 ms each. */
const records = [100, 200].map((sentMs, session) => {
  const first = sentMs + 50 + 20 * session;
  const chunkMs = [first, first + 10, first + 20, first + 30];
  return makeRecord({ session, scheduledMs: sentMs, sentMs, chunkMs, endMs: first + 31, outputTokens: 4 });
});
const load = { kind: "closed", concurrency: 1 } as const;
const point = {
  endpoint: makeResults(["a"], [1]).info.endpoints[0]!,
  cell: { index: 0, load, ...describeLoad(load) },
  records,
  figures: summarize(records, 1000, undefined),
};
const delta: StageSnapshot = {
  requests: 2,
  stageMs: {
    auth: 2,
    parse: 4,
    template: 2,
    tokenise: 3,
    "text wait": 5,
    admission: 2,
    queue: 6,
    prefill: 80,
    deliver: 4,
    format: 1,
  },
  // Keys were checked 2 ms after sending; events were formatted 2 ms before the client saw them.
  boundary: { arrivedMs: 102 + 202, formattedMs: 148 + 268 },
  messages: { count: 8, ms: 2 },
  detokenise: { count: 8, ms: 1 },
  format: { count: 8, ms: 4 },
  write: { count: 5, ms: 2 },
  engine: engine({
    steps: 8,
    stepMs: 130,
    scheduleMs: 16,
    packMs: 3.2,
    commitMs: 4.8,
    kernels: { qkv: kernel(60), o: kernel(60) },
  }),
  decode: engine({ steps: 5, stepMs: 40, gapMs: 2.5, scheduleMs: 4, kernels: { qkv: kernel(30), o: kernel(5) } }),
};

describe("a breakdown", () => {
  const breakdown = breakdownOf(point, delta, 2)!;
  const ms = (list: ReadonlyArray<{ stage: string; ms: number }>) =>
    Object.fromEntries(list.map((share) => [share.stage, Math.round(share.ms * 1000) / 1000]));

  test("splits TTFT into stages that add up to what the client measured", () => {
    expect(breakdown.ttftMs).toBe(60);
    expect(ms(breakdown.ttft)).toEqual({
      accept: 2,
      auth: 1,
      parse: 2,
      template: 1,
      tokenise: 1.5,
      "text wait": 2.5,
      admission: 1,
      queue: 3,
      // The message lies in prefill, detokenising in deliver.
      prefill: 39.75,
      message: 0.25,
      detokenise: 0.125,
      deliver: 1.875,
      format: 0.5,
      write: 2,
    });
    const whole = breakdown.ttft.reduce((sum, share) => sum + share.share, 0);
    // 58.5 of 60 ms: this sample's stages leave 1.5 ms between them, and they are not made up.
    expect(whole).toBeCloseTo(58.5 / 60, 9);
  });

  test("splits TBT by the kernels of decode steps, with a rest", () => {
    expect(breakdown.tbtMs).toBe(10);
    expect(ms(breakdown.tbt)).toEqual({ qkv: 6, o: 1, "step, rest": 1, gap: 0.5, "in between": 1.5 });
    expect(breakdown.tbt.reduce((sum, share) => sum + share.share, 0)).toBeCloseTo(1, 9);
  });

  test("tells the work beside the device a step, ranked by the cores it takes from it", () => {
    expect(ms(breakdown.beside)).toEqual({
      schedule: 1,
      pack: 0.4,
      commit: 0.6,
      detokenise: 0.125,
      format: 0.5,
      write: 0.25,
    });
    const ranked = (cores: number | undefined) =>
      breakdownOf(point, delta, cores)!.stages.find(({ stage }) => stage === "token: schedule")!.ms;
    // 3 gaps of 1 ms, on half of two cores.
    expect(ranked(2)).toBeCloseTo(1.5, 9);
    expect(ranked(undefined)).toBe(0);
  });

  test("ranks what would shorten a request most, prefill by the kernels of its own steps", () => {
    const ranked = breakdown.stages.map((share) => share.stage);
    // o took 55 of 85 ms outside decode: 25.7 of prefill's 39.75 ms. qkv: 3 gaps of 6 ms.
    expect(ranked.slice(0, 3)).toEqual(["prefill: o", "token: qkv", "prefill: qkv"]);
    expect(breakdown.stages[0]!.ms).toBeCloseTo((39.75 * 55) / 85, 9);
    expect(breakdown.stages[1]).toMatchObject({ ms: 18 });
    expect(breakdown.stages[1]!.share).toBeCloseTo(18 / 91, 9);
  });

  test("is not told from incomplete counters", () => {
    expect(breakdownOf(point, { ...delta, requests: 1 }, 2)).toBeUndefined();
    expect(breakdownOf(point, { ...delta, engine: emptyEngineSnapshot() }, 2)).toBeUndefined();
    expect(breakdownOf({ ...point, records: [] }, { ...delta, requests: 0 }, 2)).toBeUndefined();
  });

  test("is reported with its roofline, against limits or without", () => {
    const limits = { readBytesPerS: 2e9, macsPerS: 4e9 };
    const text = profileReport([breakdown], limits, [{ label: "c=1", ratio: 1.01 }]);
    expect(text).toMatch(/prefill +39\.8 ms +66\.3%/);
    expect(text).toMatch(/all +60\.0 ms/);
    expect(text).toMatch(/commit +600 us +6\.00%/);
    // A byte a nanosecond is 1 GB/s: half the limit; two multiply-adds are half of theirs.
    expect(text).toMatch(/c=1 decode qkv +6\.00 ms +1\.00 +50\.0% +2\.00 +50\.0%/);
    expect(text).toMatch(/c=1 prefill and mixed o +18\.3 ms/);
    expect(text).toContain("TPOT with timing on was 1.010");
    const without = profileReport([breakdown], undefined, []);
    expect(without).toContain("limits could not be measured");
    expect(without).toMatch(/c=1 decode qkv +6\.00 ms +1\.00 +- +2\.00 +-/);
  });
});

test("a trace is in Chrome's format, in microseconds from its beginning, a thread a track", () => {
  const spans = [{ name: "queue", track: "replica r1", startMs: 110, endMs: 115 }, ...clientSpans("c=2", records)];
  const { traceEvents } = JSON.parse(chromeTrace(spans)) as { traceEvents: Array<Record<string, unknown>> };
  const named = traceEvents.filter((event) => event.name === "thread_name");
  expect(named.map((event) => (event.args as { name: string }).name)).toEqual([
    "client c=2 request 0",
    "replica r1",
    "client c=2 request 1",
  ]);
  const complete = traceEvents.filter((event) => event.ph === "X");
  expect(complete.map(({ name, tid, ts, dur }) => [name, tid, ts, dur])).toEqual([
    ["first token", 1, 0, 50_000],
    ["queue", 2, 10_000, 5_000],
    ["4 tokens", 1, 50_000, 31_000],
    ["first token", 3, 100_000, 70_000],
    ["4 tokens", 3, 170_000, 31_000],
  ]);
});

test("spans of a track that overlap lie in different threads of the trace", () => {
  const at = (startMs: number, endMs: number) => ({ name: "tokenise", track: "text", startMs, endMs });
  const { traceEvents } = JSON.parse(chromeTrace([at(5, 9), at(0, 6), at(6, 7), at(8, 12)])) as {
    traceEvents: Array<Record<string, unknown>>;
  };
  const complete = traceEvents.filter((event) => event.ph === "X");
  expect(complete.map(({ tid, ts }) => [tid, ts])).toEqual([
    [1, 0],
    [2, 5000],
    [1, 6000],
    [1, 8000],
  ]);
});

test("a request without a reply has no span", () => {
  expect(clientSpans("c=2", [makeRecord({ endMs: undefined, chunkMs: [] })])).toEqual([]);
});
