import type { Point, RunResults } from "../results.ts";
import { formatMs, formatPercent, threeDigits } from "./format.ts";

/** How the figures are defined; printed with every report. */
export const DEFINITIONS: readonly string[] = [
  "TTFT runs from the request's scheduled start to its first content event; in a closed loop the scheduled start is the moment of sending, in an open loop the arrival time, so a late client hides nothing.",
  "ITL is the gap between successive content events of a stream as they arrived. Events that one read brought share a time and give gaps of 0; an event of several tokens gives one gap, not several.",
  "TPOT is the time from the first to the last content event over the output tokens after the first, whatever the events hold.",
  "E2E runs to [DONE], or to the end of the body. Throughput counts the tokens of finished requests over the whole time of the load, start and tail included.",
  "Timeout: 9 of 10 requests unfinished in time. Percentiles interpolate between order statistics.",
];

/** What a reader has to know before believing the figures; the first ones matter most. */
export function notesOf(results: RunResults, points: readonly Point[]): string[] {
  return [...endpointNotes(results, points), ...clientNotes(results)];
}

function endpointNotes(results: RunResults, points: readonly Point[]): string[] {
  const notes: string[] = [];
  for (const endpoint of results.info.endpoints) {
    const own = points.filter((point) => point.endpoint.label === endpoint.label && point.figures.finished > 0);
    if (own.length === 0) continue;
    const finished = own.reduce((sum, point) => sum + point.figures.finished, 0);
    const exact = own.reduce((sum, point) => sum + point.figures.exactLength, 0);
    if (exact < finished)
      notes.push(
        `${endpoint.label}: ${finished - exact} of ${finished} outputs were not as long as asked` +
          `${endpoint.dialect.exactLength ? "" : " (the server does not take ignore_eos)"}; compare tokens, not requests.`,
      );
    if (endpoint.lengthsFrom === "estimate")
      notes.push(`${endpoint.label}: prompt lengths are estimates; nothing counted its tokens exactly.`);
    if (own.some((point) => point.records.some((record) => record.outputTokensFrom === "events")))
      notes.push(`${endpoint.label}: no usage in its streams; output tokens are counted as content events.`);
    const tokensPerEvent = Math.max(...own.map((point) => point.figures.tokensPerEvent));
    if (tokensPerEvent > 1.05)
      notes.push(
        `${endpoint.label}: up to ${threeDigits(tokensPerEvent)} tokens an event; its ITL is a time between events, TPOT is the figure to compare.`,
      );
  }
  const repeats = points.filter((point) => point.figures.status === "ok" && point.figures.finished < 5).length;
  if (repeats > 0) notes.push(`Points that rest on fewer than 5 requests: ${repeats}. Their tails mean little.`);
  return notes;
}

/** Lag of the client's event loop above which small latencies are in doubt. */
const WORRYING_LAG_MS = 5;

function clientNotes(results: RunResults): string[] {
  const { slices, info } = results;
  const chunks = slices.reduce((sum, slice) => sum + slice.overhead.chunks, 0);
  const cpuMs = slices.reduce((sum, slice) => sum + slice.overhead.cpuMs, 0);
  const elapsedMs = slices.reduce((sum, slice) => sum + slice.elapsedMs, 0);
  if (chunks === 0 || elapsedMs === 0) return [];
  const lag = Math.max(...slices.map((slice) => slice.overhead.lagMs?.p99 ?? 0));
  const cost = info.inProcess
    ? "the server shares the client's process, so the client's own CPU time is not known"
    : `${threeDigits((cpuMs * 1000) / chunks)} us of CPU an event, ${formatPercent(cpuMs / elapsedMs)} of a core`;
  const notes = [
    `Client: ${info.client}; ${cost}; its event loop was at most ${formatMs(lag)} late at p99, so a timestamp is that much late at worst.`,
  ];
  if (lag > WORRYING_LAG_MS)
    notes.push(
      `The client's event loop was late by more than ${WORRYING_LAG_MS} ms at times: give it a core of its own.`,
    );
  return notes;
}
