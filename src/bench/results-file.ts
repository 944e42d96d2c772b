import { ServeError } from "../core/errors.ts";
import { pointsOf, type RunInfo, type RunResults, type SliceInfo } from "./results.ts";
import type { CellFigures } from "./stats/summary.ts";
import type { RequestRecord } from "./types.ts";

/**
 * The results file is JSON lines: one `run`, then every `slice` and `request`, then one line of `figures` for each point
 * (for jq and people; a reader computes them again). Times are ms from the start of the run, to the microsecond.
 */
type Line =
  | ({ type: "run" } & RunInfo)
  | ({ type: "slice" } & SliceInfo)
  | ({ type: "request" } & StoredRequest)
  | ({ type: "figures"; endpoint: string; cell: number; label: string } & CellFigures);

/** A record with its event times as gaps, which are short numbers. */
type StoredRequest = Omit<RequestRecord, "chunkMs"> & { firstMs: number | undefined; itlMs: number[] };

export function* encodeResults(results: RunResults): Generator<string> {
  const line = (value: Line): string => `${JSON.stringify(value)}\n`;
  yield line({ type: "run", ...results.info });
  for (const slice of results.slices) yield line({ type: "slice", ...slice });
  const startMs = results.records.reduce(
    (least, record) => Math.min(least, record.scheduledMs),
    Number.POSITIVE_INFINITY,
  );
  for (const record of results.records) yield line({ type: "request", ...store(record, startMs) });
  for (const { endpoint, cell, figures } of pointsOf(results))
    yield line({ type: "figures", endpoint: endpoint.label, cell: cell.index, label: cell.label, ...figures });
}

/** Throws ServeError invalid_argument when the text is not a results file. */
export function decodeResults(text: string, name: string): RunResults {
  let info: RunInfo | undefined;
  const slices: SliceInfo[] = [];
  const records: RequestRecord[] = [];
  for (const [index, source] of text.split("\n").entries()) {
    if (source === "") continue;
    let line: Line;
    try {
      line = JSON.parse(source);
    } catch (cause) {
      throw notResults(name, `line ${index + 1} is not JSON`, cause);
    }
    if (line.type === "run") {
      const { type: _, ...rest } = line;
      info = rest;
    } else if (line.type === "slice") {
      const { type: _, ...slice } = line;
      slices.push(slice);
    } else if (line.type === "request") records.push(restore(line));
    else if (line.type !== "figures") throw notResults(name, `line ${index + 1} has an unknown type`);
  }
  if (info === undefined) throw notResults(name, "it has no line of type run");
  if (info.version !== 1) throw notResults(name, `its version is ${String(info.version)}, this program reads 1`);
  return { info, slices, records };
}

function store(record: RequestRecord, startMs: number): StoredRequest {
  const { chunkMs, ...rest } = record;
  const at = (timeMs: number): number => round(timeMs - startMs);
  return {
    ...rest,
    scheduledMs: at(record.scheduledMs),
    sentMs: at(record.sentMs),
    endMs: record.endMs === undefined ? undefined : at(record.endMs),
    firstMs: chunkMs[0] === undefined ? undefined : at(chunkMs[0]),
    // Gaps of rounded times, so that the sum of gaps is the rounded span.
    itlMs: chunkMs.slice(1).map((timeMs, i) => round(at(timeMs) - at(chunkMs[i]!))),
  };
}

function restore(stored: StoredRequest & { type: "request" }): RequestRecord {
  const { type: _, firstMs, itlMs, ...rest } = stored;
  const chunkMs: number[] = [];
  if (firstMs !== undefined) {
    chunkMs.push(firstMs);
    for (const gap of itlMs) chunkMs.push(chunkMs[chunkMs.length - 1]! + gap);
  }
  // JSON leaves undefined fields out.
  return { ...rest, endMs: stored.endMs, promptTokens: stored.promptTokens, error: stored.error, chunkMs };
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function notResults(name: string, why: string, cause?: unknown): ServeError {
  return new ServeError("invalid_argument", `${name} is not a file that bench --output wrote: ${why}.`, { cause });
}
