import type { ErrorKind, RequestRecord } from "../types.ts";
import { type Distribution, distributionOf } from "./distribution.ts";

/** Limits a request must keep to count as good, in ms; a limit left out is not tested. */
export interface Slo {
  ttftMs?: number;
  tpotMs?: number;
  e2eMs?: number;
}

/** The latencies of one finished request, ms. */
export interface Latencies {
  ttftMs: number;
  /** Gaps between successive content events as they arrived; events of one read share a time, so a gap may be 0. */
  itlMs: number[];
  /** First to last content event over the output tokens after the first; undefined for a single token. */
  tpotMs: number | undefined;
  e2eMs: number;
}

export interface CellFigures {
  /** `timeout` is the paper's rule: 9 of 10 requests unfinished in time. `error`: 9 of 10 failed, mostly otherwise. */
  status: "ok" | "timeout" | "error" | "empty";
  finished: number;
  failed: number;
  /** Failures by kind; cancelled requests are no failures and in no figure. */
  errors: Record<string, number>;
  cancelled: number;
  elapsedS: number;
  requestsPerS: number;
  outputTokensPerS: number;
  /** Prompt and output tokens. */
  totalTokensPerS: number;
  ttftMs: Distribution | undefined;
  itlMs: Distribution | undefined;
  tpotMs: Distribution | undefined;
  e2eMs: Distribution | undefined;
  /** From the scheduled to the actual start, in an open loop: what the client added. */
  sendLagMs: Distribution | undefined;
  promptTokens: Distribution | undefined;
  outputTokens: Distribution | undefined;
  /** Above 1 a gap between events spans several tokens, and ITL is a time between events; TPOT is then the fair figure. */
  tokensPerEvent: number;
  /** Finished requests whose output was as long as asked. */
  exactLength: number;
  /** Finished requests within the SLO, a second and as a share of all; undefined without an SLO. */
  goodput: { requestsPerS: number; share: number } | undefined;
}

/** The paper's share of failed requests above which a point is no point. */
export const FAILED_SHARE = 0.9;

/** Undefined for a request that did not finish. */
export function latenciesOf(record: RequestRecord): Latencies | undefined {
  const { chunkMs, endMs, scheduledMs } = record;
  const first = chunkMs[0];
  if (record.error !== undefined || endMs === undefined || first === undefined) return undefined;
  const last = chunkMs[chunkMs.length - 1]!;
  const itlMs: number[] = [];
  for (let i = 1; i < chunkMs.length; i++) itlMs.push(chunkMs[i]! - chunkMs[i - 1]!);
  const tpotMs = record.outputTokens > 1 ? (last - first) / (record.outputTokens - 1) : undefined;
  return { ttftMs: first - scheduledMs, itlMs, tpotMs, e2eMs: endMs - scheduledMs };
}

/** The figures of one endpoint in one cell. Throughput counts finished requests over the cell's whole elapsed time. */
export function summarize(records: readonly RequestRecord[], elapsedMs: number, slo: Slo | undefined): CellFigures {
  const ttftMs: number[] = [];
  const itlMs: number[] = [];
  const tpotMs: number[] = [];
  const e2eMs: number[] = [];
  const sendLagMs: number[] = [];
  const promptTokens: number[] = [];
  const outputTokens: number[] = [];
  const errors = new Map<ErrorKind, number>();
  let cancelled = 0;
  let events = 0;
  let good = 0;
  let exactLength = 0;
  for (const record of records) {
    if (record.error?.kind === "cancelled") cancelled++;
    else if (record.error !== undefined) errors.set(record.error.kind, (errors.get(record.error.kind) ?? 0) + 1);
    const latencies = latenciesOf(record);
    if (latencies === undefined) continue;
    ttftMs.push(latencies.ttftMs);
    for (const gap of latencies.itlMs) itlMs.push(gap);
    if (latencies.tpotMs !== undefined) tpotMs.push(latencies.tpotMs);
    e2eMs.push(latencies.e2eMs);
    sendLagMs.push(record.sentMs - record.scheduledMs);
    if (record.promptTokens !== undefined) promptTokens.push(record.promptTokens);
    outputTokens.push(record.outputTokens);
    events += record.chunkMs.length;
    if (record.outputTokens === record.maxTokens) exactLength++;
    if (slo !== undefined && meets(latencies, slo)) good++;
  }
  const finished = e2eMs.length;
  const failed = records.length - cancelled - finished;
  const elapsedS = elapsedMs / 1000;
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const outputTotal = sum(outputTokens);
  return {
    status: statusOf(finished, failed, errors),
    finished,
    failed,
    errors: Object.fromEntries([...errors].sort((a, b) => b[1] - a[1])),
    cancelled,
    elapsedS,
    requestsPerS: finished / elapsedS,
    outputTokensPerS: outputTotal / elapsedS,
    totalTokensPerS: (outputTotal + sum(promptTokens)) / elapsedS,
    ttftMs: distributionOf(ttftMs),
    itlMs: distributionOf(itlMs),
    tpotMs: distributionOf(tpotMs),
    e2eMs: distributionOf(e2eMs),
    sendLagMs: distributionOf(sendLagMs),
    promptTokens: distributionOf(promptTokens),
    outputTokens: distributionOf(outputTokens),
    tokensPerEvent: events === 0 ? Number.NaN : outputTotal / events,
    exactLength,
    goodput:
      slo === undefined ? undefined : { requestsPerS: good / elapsedS, share: good / Math.max(1, finished + failed) },
  };
}

function meets(latencies: Latencies, slo: Slo): boolean {
  return (
    latencies.ttftMs <= (slo.ttftMs ?? Number.POSITIVE_INFINITY) &&
    (latencies.tpotMs ?? 0) <= (slo.tpotMs ?? Number.POSITIVE_INFINITY) &&
    latencies.e2eMs <= (slo.e2eMs ?? Number.POSITIVE_INFINITY)
  );
}

function statusOf(finished: number, failed: number, errors: ReadonlyMap<ErrorKind, number>): CellFigures["status"] {
  if (finished + failed === 0) return "empty";
  if (failed < FAILED_SHARE * (finished + failed)) return "ok";
  return (errors.get("timeout") ?? 0) * 2 >= failed ? "timeout" : "error";
}
