import type { RequestRecord } from "../types.ts";
import type { TraceSpan } from "./stage-source.ts";

/** Spans of requests as their client saw them: waiting for the first token, then tokens. */
export function clientSpans(records: readonly RequestRecord[]): TraceSpan[] {
  return records.flatMap((record) => {
    const [first] = record.chunkMs;
    if (first === undefined || record.endMs === undefined) return [];
    const track = `client request ${record.session}`;
    return [
      { name: "first token", track, startMs: record.sentMs, endMs: first },
      { name: `${record.outputTokens} tokens`, track, startMs: first, endMs: record.endMs },
    ];
  });
}

/**
 * A trace in the Trace Event Format that chrome://tracing and ui.perfetto.dev open: complete events in microseconds, a
 * thread for each track, tracks in the order they appear.
 */
export function chromeTrace(spans: readonly TraceSpan[]): string {
  const tracks = new Map<string, number>();
  const startMs = spans.reduce((least, span) => Math.min(least, span.startMs), Number.POSITIVE_INFINITY);
  const events: unknown[] = [];
  for (const { name, track, startMs: at, endMs } of spans) {
    let tid = tracks.get(track);
    if (tid === undefined) {
      tid = tracks.size + 1;
      tracks.set(track, tid);
      events.push({ ph: "M", name: "thread_name", pid: 1, tid, args: { name: track } });
      events.push({ ph: "M", name: "thread_sort_index", pid: 1, tid, args: { sort_index: tid } });
    }
    const [ts, dur] = [(at - startMs) * 1000, Math.max(0, endMs - at) * 1000];
    events.push({ ph: "X", name, cat: "scalellm", pid: 1, tid, ts, dur });
  }
  return `${JSON.stringify({ displayTimeUnit: "ms", traceEvents: events })}\n`;
}
