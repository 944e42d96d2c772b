import type { RequestRecord } from "../types.ts";
import type { TraceSpan } from "./stage-source.ts";

/** Spans of a load's requests as their client saw them: waiting for the first token, then tokens. */
export function clientSpans(load: string, records: readonly RequestRecord[]): TraceSpan[] {
  return records.flatMap((record) => {
    const [first] = record.chunkMs;
    if (first === undefined || record.endMs === undefined) return [];
    // Every load numbers its requests from 0.
    const track = `client ${load} request ${record.session}`;
    return [
      { name: "first token", track, startMs: record.sentMs, endMs: first },
      { name: `${record.outputTokens} tokens`, track, startMs: first, endMs: record.endMs },
    ];
  });
}

/**
 * A trace in the Trace Event Format that chrome://tracing and ui.perfetto.dev open: complete events in microseconds, a
 * thread for each track, tracks in the order they appear. Events of a thread must not overlap, so a track whose spans do
 * has several threads.
 */
export function chromeTrace(spans: readonly TraceSpan[]): string {
  /** By track: when each of its threads is free again. */
  const lanes = new Map<string, Array<{ tid: number; freeMs: number }>>();
  let numThreads = 0;
  const startMs = spans.reduce((least, span) => Math.min(least, span.startMs), Number.POSITIVE_INFINITY);
  const events: unknown[] = [];
  const sorted = spans.toSorted((a, b) => a.startMs - b.startMs);
  for (const { name, track, startMs: at, endMs } of sorted) {
    const own = lanes.get(track) ?? [];
    lanes.set(track, own);
    let lane = own.find(({ freeMs }) => freeMs <= at);
    if (lane === undefined) {
      const tid = ++numThreads;
      lane = { tid, freeMs: at };
      own.push(lane);
      events.push({ ph: "M", name: "thread_name", pid: 1, tid, args: { name: track } });
      events.push({ ph: "M", name: "thread_sort_index", pid: 1, tid, args: { sort_index: tid } });
    }
    lane.freeMs = Math.max(at, endMs);
    const [ts, dur] = [(at - startMs) * 1000, Math.max(0, endMs - at) * 1000];
    events.push({ ph: "X", name, cat: "scalellm", pid: 1, tid: lane.tid, ts, dur });
  }
  return `${JSON.stringify({ displayTimeUnit: "ms", traceEvents: events })}\n`;
}
