import { LIMITS } from "../config/limits.ts";
import type { Clock } from "../core/clock.ts";
import { EndpointApi } from "./endpoint-api.ts";
import { monitorOverhead } from "./overhead-monitor.ts";
import { type LiveFigures, RequestLog } from "./request-log.ts";
import type { EndpointInfo, RunResults } from "./results.ts";
import { runSlice } from "./run-cell.ts";
import { runSession, type SessionContext } from "./run-session.ts";
import type { Slo } from "./stats/summary.ts";
import type { ApiKind, Cell, Endpoint } from "./types.ts";
import { CompletionClient } from "./wire/completion-client.ts";
import { WARMUP_CELL, type Workload } from "./workload/session.ts";
import { calibrate, type PromptScale } from "./workload/token-counter.ts";

export interface BenchPlan {
  endpoints: readonly Endpoint[];
  api: ApiKind;
  /** Headers of every request, such as authorization. */
  headers: Readonly<Record<string, string>>;
  cells: readonly Cell[];
  workload: Workload;
  /** Sessions of a cell, for each endpoint. */
  sessionsOf(cell: Cell): number;
  /** Time for starting sessions in a cell, for each endpoint. */
  durationMs: number;
  /** Sessions sent to each endpoint and not recorded, before the first cell. */
  warmup: number;
  /** Endpoints take turns this often within a cell, so that a drift of the machine hits all alike. */
  rounds: number;
  timeoutMs: number;
  slo: Slo | undefined;
  seed: number;
  /** Ask for outputs of the exact length (`ignore_eos`) where the server can. */
  exactLength: boolean;
  inProcess: boolean;
  client: string;
  startedAt: string;
}

/** What a run tells while it goes on. */
export interface BenchObserver {
  /** A step before the measurement. */
  onPrepare(message: string): void;
  /** A few times a second during a slice; `total` is infinite where only time ends it. */
  onProgress(cell: Cell, endpoint: string, done: number, total: number, live: LiveFigures): void;
  /** Awaited before the first request of a slice. */
  onSliceStart?(cell: Cell, endpoint: string, round: number): Promise<void>;
  /** Awaited when no request of the slice runs any more; its records are in the results. */
  onSliceEnd(cell: Cell, endpoint: string, results: RunResults): Promise<void> | void;
}

const PROGRESS_MS = 200;

interface Target {
  info: EndpointInfo;
  api: EndpointApi;
  client: CompletionClient;
  scale: PromptScale;
}

/**
 * Runs the whole plan. When the signal aborts, the results so far are returned. Throws ServeError when an endpoint can't
 * be reached or used at all.
 */
export async function runBench(
  plan: BenchPlan,
  observer: BenchObserver,
  clock: Clock,
  signal: AbortSignal,
): Promise<RunResults> {
  const targets: Target[] = [];
  for (const endpoint of plan.endpoints) targets.push(await prepare(plan, endpoint, observer, clock, signal));
  const { cells, api, seed, timeoutMs, slo, client, inProcess, startedAt } = plan;
  const endpoints = targets.map((target) => target.info);
  const workload = plan.workload.description;
  const results: RunResults = {
    info: { version: 1, startedAt, api, workload, seed, timeoutMs, slo, cells, endpoints, client, inProcess },
    slices: [],
    records: [],
  };
  try {
    for (const target of targets) await warmUp(plan, target, observer, clock, signal);
    for (const cell of cells) {
      for (let round = 0; round < plan.rounds; round++) {
        // A, B, then B, A: whoever goes first changes.
        const order = round % 2 === 0 ? targets : [...targets].reverse();
        for (const target of order) {
          if (signal.aborted) return results;
          await runTurn(plan, results, target, cell, round, observer, clock, signal);
        }
      }
    }
    return results;
  } finally {
    for (const target of targets) target.client.close();
  }
}

async function prepare(
  plan: BenchPlan,
  endpoint: Endpoint,
  observer: BenchObserver,
  clock: Clock,
  signal: AbortSignal,
): Promise<Target> {
  observer.onPrepare(`${endpoint.label}: asking ${endpoint.baseUrl.href}`);
  const api = new EndpointApi(endpoint, plan.api, plan.headers);
  let waiting = false;
  const onWait = (): void => {
    if (!waiting) observer.onPrepare(`${endpoint.label}: has no model yet, waiting for it to be loaded`);
    waiting = true;
  };
  await api.probe(plan.exactLength, onWait, signal);
  observer.onPrepare(`${endpoint.label}: model ${api.model}, calibrating prompt lengths`);
  const scale = await calibrate(api);
  const client = new CompletionClient(endpoint.baseUrl, plan.headers, clock);
  const { label, baseUrl } = endpoint;
  const info = { label, url: baseUrl.href, model: api.model, dialect: api.dialect, lengthsFrom: scale.source };
  return { info, api, client, scale };
}

async function warmUp(
  plan: BenchPlan,
  target: Target,
  observer: BenchObserver,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  if (plan.warmup > 0) observer.onPrepare(`${target.info.label}: warming up with ${plan.warmup} requests`);
  const context = contextOf(plan, target, WARMUP_CELL, new RequestLog(clock.nowMs()), clock, signal);
  for (let i = 0; i < plan.warmup && !signal.aborted; i++)
    await runSession(context, plan.workload.session(WARMUP_CELL, i, target.scale));
}

/** One endpoint's share of a round, unless a round before gave up. */
async function runTurn(
  plan: BenchPlan,
  results: RunResults,
  target: Target,
  cell: Cell,
  round: number,
  observer: BenchObserver,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const { label } = target.info;
  const isHere = (slice: { endpoint: string; cell: number }): boolean =>
    slice.endpoint === label && slice.cell === cell.index;
  if (results.slices.some((slice) => isHere(slice) && slice.gaveUp)) return;
  const sessions = plan.sessionsOf(cell);
  const from = Math.floor((sessions * round) / plan.rounds);
  const to = Math.floor((sessions * (round + 1)) / plan.rounds);
  if (from === to) return;
  const total = sessions === LIMITS.maxBenchRequests ? Number.POSITIVE_INFINITY : to - from;
  await observer.onSliceStart?.(cell, label, round);
  const log = new RequestLog(clock.nowMs());
  const context = contextOf(plan, target, cell.index, log, clock, signal);
  target.client.onChunks = (count) => {
    log.chunks += count;
  };
  const progress = setInterval(
    () => observer.onProgress(cell, label, log.records.length, total, log.live(clock.nowMs())),
    PROGRESS_MS,
  );
  const stopMonitor = monitorOverhead(clock);
  const { load } = cell;
  const { workload, seed } = plan;
  const durationMs = plan.durationMs / plan.rounds;
  const { elapsedMs, gaveUp } = await runSlice(context, {
    load,
    workload,
    scale: target.scale,
    seed,
    from,
    to,
    durationMs,
  });
  const overhead = stopMonitor(log.chunks);
  clearInterval(progress);
  results.slices.push({ endpoint: label, cell: cell.index, elapsedMs, gaveUp, overhead });
  for (const record of log.records) results.records.push(record);
  await observer.onSliceEnd(cell, label, results);
}

function contextOf(
  plan: BenchPlan,
  target: Target,
  cell: number,
  log: RequestLog,
  clock: Clock,
  signal: AbortSignal,
): SessionContext {
  const { api, client } = target;
  return { api, client, log, clock, cell, timeoutMs: plan.timeoutMs, signal };
}
