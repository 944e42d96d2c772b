/**
 * What the bench client can drive, and what it adds: a mock server in a process of its own writes events at scripted
 * times and says when it really wrote; the client's figures are held against that.
 *
 *   bun bench/client-capacity.ts
 */

import { pointsOf } from "../src/bench/results.ts";
import { type BenchPlan, runBench } from "../src/bench/run-bench.ts";
import { quantileOfSorted, sortedCopy } from "../src/bench/stats/distribution.ts";
import { describeLoad } from "../src/bench/types.ts";
import { syntheticWorkload } from "../src/bench/workload/synthetic.ts";
import { WORDS } from "../src/bench/workload/words.ts";
import { systemClock } from "../src/core/clock.ts";
import { MOCK_OVERHEAD_TOKENS, type MockTiming, PROMPT_KEY_CHARS } from "./mock-server.ts";

const STREAMS = 64;
const TOKENS = 200;
const TTFT_MS = 20;

async function measure(itlMs: number): Promise<void> {
  const mock = Bun.spawn(
    [process.execPath, `${import.meta.dir}/mock-server.ts`, "--ttft-ms", `${TTFT_MS}`, "--itl-ms", `${itlMs}`],
    {
      stdout: "pipe",
    },
  );
  const line = await mock.stdout.getReader().read();
  const url = new TextDecoder().decode(line.value).trim();
  const load = { kind: "closed", concurrency: STREAMS } as const;
  const workload = syntheticWorkload({
    input: { kind: "fixed", tokens: 128 },
    // Spread, or all streams of the mock would end in one tick.
    output: { kind: "uniform", min: TOKENS / 2, max: (TOKENS * 3) / 2 },
    sharedPrefixTokens: 0,
    prefixGroups: 1,
    turns: 1,
    seed: 1,
  });
  const plan: BenchPlan = {
    endpoints: [{ label: "mock", baseUrl: new URL(`${url}/v1`), model: undefined }],
    api: "chat",
    headers: {},
    cells: [{ index: 0, load, ...describeLoad(load) }],
    workload,
    sessionsOf: () => STREAMS * 10,
    durationMs: Number.POSITIVE_INFINITY,
    // Warm-up compiles the hot code, as it does in every run.
    warmup: 2,
    rounds: 1,
    timeoutMs: 60_000,
    slo: undefined,
    seed: 1,
    exactLength: true,
    inProcess: false,
    client: "",
    startedAt: "",
  };
  const quiet = { onPrepare() {}, onProgress() {}, onSliceEnd() {} };
  const results = await runBench(plan, quiet, systemClock, new AbortController().signal);
  const figures = pointsOf(results)[0]!.figures;
  const overhead = results.slices[0]!.overhead;
  const stats = (await (await fetch(`${url}/stats`)).json()) as { timings: MockTiming[] };
  mock.kill();
  const timings = new Map(stats.timings.map((timing) => [timing.prompt, timing]));
  const receiveMs: number[] = [];
  const addedMs: number[] = [];
  for (const record of results.records) {
    const scale = { words: WORDS, overhead: MOCK_OVERHEAD_TOKENS + 1, source: "tokenize" } as const;
    const { content } = workload.session(record.cell, record.session, scale).turns[0]!;
    const timing = timings.get(content.slice(0, PROMPT_KEY_CHARS));
    if (timing === undefined) throw new Error("the mock has not seen a request");
    receiveMs.push(performance.timeOrigin + record.chunkMs[0]! - timing.firstWriteMs);
    addedMs.push(record.chunkMs[0]! - record.scheduledMs - (timing.firstWriteMs - timing.readMs));
  }
  const rate = overhead.chunks / figures.elapsedS;
  const quantiles = (values: number[]): string =>
    [0.5, 0.99].map((q) => quantileOfSorted(sortedCopy(values), q).toFixed(2)).join(" / ");
  console.log(
    `${Math.round(rate)} chunks/s at ${STREAMS} streams, ${figures.failed} failed: ` +
      `${((overhead.cpuMs * 1000) / overhead.chunks).toFixed(1)} us CPU a chunk (${Math.round((overhead.chunks * 1000) / overhead.cpuMs)} chunks/s a core); ` +
      `first event stamped ${quantiles(receiveMs)} ms (p50 / p99) after the server wrote it; ` +
      `TTFT above the server's own, its backlog of unread requests included: ${quantiles(addedMs)} ms; ` +
      `loop lag p99 ${overhead.lagMs?.p99.toFixed(2)} ms`,
  );
}

for (const itlMs of [10, 3, 1, 0.5]) await measure(itlMs);
