import { LIMITS } from "../config/limits.ts";
import type { Clock } from "../core/clock.ts";
import { runSession, type SessionContext } from "./run-session.ts";
import { makeRng } from "./stats/rng.ts";
import { FAILED_SHARE } from "./stats/summary.ts";
import type { Load } from "./types.ts";
import { arrivals, traceArrivals } from "./workload/arrivals.ts";
import type { Workload } from "./workload/session.ts";
import type { PromptScale } from "./workload/token-counter.ts";

/** A part of a cell: one endpoint, some of the sessions. */
export interface CellSlice {
  load: Load;
  workload: Workload;
  scale: PromptScale;
  seed: number;
  /** Sessions [from, to) of the workload; an open loop starts its clock anew in each slice. */
  from: number;
  to: number;
  /** No session starts later than this after the slice began; those running are waited for. */
  durationMs: number;
}

export interface SliceResult {
  /** From the first request due to the last one's end. */
  elapsedMs: number;
  /** Stopped before its limit: a whole wave of requests failed. */
  gaveUp: boolean;
}

/** Stream of the random arrivals below the seed. */
const ARRIVALS = 6;

/** Runs a slice to its end, or until the signal aborts (running requests are then cut and recorded as cancelled). */
export async function runSlice(context: SessionContext, slice: CellSlice): Promise<SliceResult> {
  if (slice.load.kind === "closed") await context.client.prepare(slice.load.concurrency, context.signal);
  const startMs = context.clock.nowMs();
  const gaveUp =
    slice.load.kind === "closed"
      ? await closedLoop(context, slice, slice.load.concurrency, startMs)
      : await openLoop(context, slice, slice.load, startMs);
  return { elapsedMs: context.clock.nowMs() - startMs, gaveUp };
}

/** `concurrency` users, each sending its next session when the last has ended. */
async function closedLoop(
  context: SessionContext,
  slice: CellSlice,
  concurrency: number,
  startMs: number,
): Promise<boolean> {
  let next = slice.from;
  const before = mark(context);
  let gaveUp = false;
  const user = async (): Promise<void> => {
    while (next < slice.to && !gaveUp && !context.signal.aborted) {
      if (context.clock.nowMs() - startMs >= slice.durationMs) return;
      await runSession(context, slice.workload.session(context.cell, next++, slice.scale));
      gaveUp ||= wholeWaveFailed(context, before, concurrency);
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, slice.to - slice.from) }, user));
  return gaveUp && next < slice.to;
}

/** Sessions at their arrival times, whatever the server does; latency counts from the arrival (no coordinated omission). */
async function openLoop(
  context: SessionContext,
  slice: CellSlice,
  load: Exclude<Load, { kind: "closed" }>,
  startMs: number,
): Promise<boolean> {
  const { workload } = slice;
  const before = mark(context);
  const times =
    load.kind === "trace"
      ? traceArrivals((workload.timestampsMs ?? []).slice(slice.from, slice.to), load.speed)
      : arrivals(load, makeRng(slice.seed, ARRIVALS, context.cell, slice.from));
  const running = new Set<Promise<void>>();
  let index = slice.from;
  for (const offsetMs of times) {
    if (index >= slice.to || offsetMs >= slice.durationMs) break;
    const dueMs = startMs + offsetMs;
    await waitUntil(context.clock, dueMs, context.signal);
    // The wait for a socket is the client's, but the request was due: its latency counts from then all the same.
    while (running.size >= LIMITS.maxBenchInFlight && !context.signal.aborted) await Promise.race(running);
    if (context.signal.aborted) break;
    const session = runSession(context, workload.session(context.cell, index++, slice.scale), dueMs);
    running.add(session);
    session.finally(() => running.delete(session));
    if (wholeWaveFailed(context, before, LIMITS.maxBenchInFlight)) break;
  }
  await Promise.all(running);
  return wholeWaveFailed(context, before, LIMITS.maxBenchInFlight) && index < slice.to;
}

/** A run of failures shorter than this is no evidence, however low the concurrency. */
const MIN_WAVE = 5;

/** True when as many requests as run at once have ended and 9 of 10 failed: going on would show nothing new. */
function wholeWaveFailed({ log }: SessionContext, before: LogMark, wave: number): boolean {
  const ended = log.records.length - before.records;
  return ended >= Math.max(wave, MIN_WAVE) && log.failed - before.failed >= FAILED_SHARE * ended;
}

interface LogMark {
  records: number;
  failed: number;
}

function mark({ log }: SessionContext): LogMark {
  return { records: log.records.length, failed: log.failed };
}

/** Timers fire at whole milliseconds; the rest is spent yielding to the event loop, so that arrivals are on time. */
async function waitUntil(clock: Clock, dueMs: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    const leftMs = dueMs - clock.nowMs();
    if (leftMs <= 0 || signal.aborted) return;
    if (leftMs < 1.5) await new Promise<void>((resolve) => setImmediate(resolve));
    // Short naps, so that Ctrl-C during a slow trace is heard.
    else await new Promise<void>((resolve) => setTimeout(resolve, Math.min(leftMs - 1, 200)));
  }
}
