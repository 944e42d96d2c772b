import type { EndpointInfo, RunResults } from "../../src/bench/results.ts";
import { makeRng } from "../../src/bench/stats/rng.ts";
import type { Slo } from "../../src/bench/stats/summary.ts";
import { describeLoad } from "../../src/bench/types.ts";
import { makeRecord } from "./make-record.ts";

/** A run made up from a seed: later endpoints are slower, higher concurrencies too; a few requests fail. */
export function makeResults(labels: readonly string[], concurrencies: readonly number[], slo?: Slo): RunResults {
  const dialect = { exactLength: true, plainSampling: true, maxTokensField: "max_tokens", usage: true } as const;
  const endpoints: EndpointInfo[] = labels.map((label) => {
    return { label, url: `http://${label}/v1`, model: "m", dialect, lengthsFrom: "tokenize" };
  });
  const cells = concurrencies.map((concurrency, index) => {
    const load = { kind: "closed", concurrency } as const;
    return { index, load, ...describeLoad(load) };
  });
  const results: RunResults = {
    info: {
      version: 1,
      startedAt: "2026-01-01T00:00:00.000Z",
      api: "chat",
      workload: "prompt 5, output 20",
      seed: 1,
      timeoutMs: 60_000,
      slo,
      cells,
      endpoints,
      client: "test",
      inProcess: false,
    },
    slices: [],
    records: [],
  };
  for (const [e, endpoint] of labels.entries())
    for (const { index: cell, x } of cells) {
      const rng = makeRng(1, e, cell);
      let nowMs = 1000 * (cell + 1);
      for (let session = 0; session < 40; session++) {
        const chunkMs = [nowMs + (e + 1) * (30 + x + 10 * rng.exponential())];
        for (let i = 1; i < 20; i++) chunkMs.push(chunkMs[i - 1]! + (e + 1) * (5 + x / 4 + rng.exponential()));
        const lost = session % 13 === 12;
        results.records.push(
          makeRecord({
            endpoint,
            cell,
            session,
            scheduledMs: nowMs,
            sentMs: nowMs,
            chunkMs: lost ? chunkMs.slice(0, 3) : chunkMs,
            endMs: lost ? undefined : chunkMs.at(-1)!,
            outputTokens: lost ? 3 : 20,
            maxTokens: 20,
            error: lost ? { kind: "cut", detail: "<b>connection & all</b>" } : undefined,
          }),
        );
        nowMs += 200 / x;
      }
      const lagMs = { count: 9, mean: 0.1, p50: 0.1, p90: 0.2, p95: 0.2, p99: 0.3, min: 0, max: 0.4 };
      const overhead = { lagMs, cpuMs: 80, chunks: 780 };
      results.slices.push({ endpoint, cell, elapsedMs: 8000 / x, gaveUp: false, overhead });
    }
  return results;
}
