import type { RequestDialect } from "./endpoint-api.ts";
import type { ClientOverhead } from "./overhead-monitor.ts";
import type { Slo } from "./stats/summary.ts";
import { type CellFigures, summarize } from "./stats/summary.ts";
import type { ApiKind, Cell, RequestRecord } from "./types.ts";

/** What a run was, beside its measurements. */
export interface RunInfo {
  /** Of the results format. */
  version: 1;
  startedAt: string;
  api: ApiKind;
  workload: string;
  seed: number;
  timeoutMs: number;
  slo: Slo | undefined;
  cells: readonly Cell[];
  endpoints: readonly EndpointInfo[];
  /** The client's machine and runtime. */
  client: string;
  /** The server runs in the client's process: its CPU time is not the client's. */
  inProcess: boolean;
}

export interface EndpointInfo {
  label: string;
  url: string;
  model: string;
  dialect: RequestDialect;
  /** What counted prompt tokens. */
  lengthsFrom: "tokenize" | "usage" | "estimate";
}

/** One endpoint's turn at a cell; a cell may have several when endpoints are interleaved. */
export interface SliceInfo {
  endpoint: string;
  cell: number;
  elapsedMs: number;
  gaveUp: boolean;
  overhead: ClientOverhead;
}

export interface RunResults {
  info: RunInfo;
  slices: SliceInfo[];
  records: RequestRecord[];
}

/** One endpoint in one cell, ready to be shown. */
export interface Point {
  endpoint: EndpointInfo;
  cell: Cell;
  records: RequestRecord[];
  figures: CellFigures;
}

/** Points in the order of endpoints, then cells; cells that never ran are left out. */
export function pointsOf({ info, slices, records }: RunResults): Point[] {
  const points: Point[] = [];
  for (const endpoint of info.endpoints) {
    for (const cell of info.cells) {
      const isHere = (item: { endpoint: string; cell: number }): boolean =>
        item.endpoint === endpoint.label && item.cell === cell.index;
      const own = slices.filter(isHere);
      if (own.length === 0) continue;
      const elapsedMs = own.reduce((sum, slice) => sum + slice.elapsedMs, 0);
      const ownRecords = records.filter(isHere);
      points.push({ endpoint, cell, records: ownRecords, figures: summarize(ownRecords, elapsedMs, info.slo) });
    }
  }
  return points;
}

export function pointAt(points: readonly Point[], endpoint: string, cell: number): Point | undefined {
  return points.find((point) => point.endpoint.label === endpoint && point.cell.index === cell);
}
