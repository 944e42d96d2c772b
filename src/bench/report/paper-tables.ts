import { type Point, pointAt, type RunResults } from "../results.ts";
import type { CellFigures } from "../stats/summary.ts";
import { formatMs, formatPercent, formatSpeedup, threeDigits } from "./format.ts";

/** A table of the report, for the terminal and the HTML page alike. */
export interface ReportTable {
  title: string;
  /** What the numbers are, in a sentence. */
  caption: string;
  header: string[];
  rows: string[][];
}

interface Measure {
  title: string;
  caption: string;
  /** Undefined where it was not measured. */
  of: (figures: CellFigures) => number | undefined;
  show: (value: number) => string;
  higherIsBetter: boolean;
}

const LATENCY: Measure = {
  title: "Latency with streaming output",
  caption: "Mean end-to-end latency of a request",
  of: (figures) => figures.e2eMs?.mean,
  show: formatMs,
  higherIsBetter: false,
};
const MEASURES: readonly Measure[] = [
  LATENCY,
  { ...LATENCY, title: "Time to first token", caption: "TTFT, median", of: (figures) => figures.ttftMs?.p50 },
  { ...LATENCY, title: "Time to first token, tail", caption: "TTFT, 99th percentile", of: (f) => f.ttftMs?.p99 },
  {
    ...LATENCY,
    title: "Time per output token",
    caption: "TPOT (the mean gap between a request's tokens; TBT in the paper), median",
    of: (figures) => figures.tpotMs?.p50,
  },
  { ...LATENCY, title: "Inter-token latency, tail", caption: "ITL, 99th percentile", of: (f) => f.itlMs?.p99 },
  {
    title: "Throughput",
    caption: "Output tokens a second of finished requests",
    of: (figures) => figures.outputTokensPerS,
    show: (value) => `${threeDigits(value)} tok/s`,
    higherIsBetter: true,
  },
];
const GOODPUT: Measure = {
  title: "Goodput",
  caption: "Finished requests a second within the SLO",
  of: (figures) => figures.goodput?.requestsPerS,
  show: (value) => `${threeDigits(value)} req/s`,
  higherIsBetter: true,
};

/**
 * The paper's tables: a row an endpoint, a column a cell; with several endpoints each figure has its speed-up over the
 * first endpoint in brackets. A point where 9 of 10 requests failed shows why instead of a figure.
 */
export function paperTables(results: RunResults, points: readonly Point[]): ReportTable[] {
  const measures = results.info.slo === undefined ? MEASURES : [...MEASURES, GOODPUT];
  return measures.map((measure) => {
    const { endpoints, cells } = results.info;
    const measured = cells.filter((cell) => points.some((point) => point.cell.index === cell.index));
    const rows = endpoints.map((endpoint) => {
      const shown = measured.map((cell) => {
        const point = pointAt(points, endpoint.label, cell.index);
        const baseline = endpoint === endpoints[0] ? undefined : pointAt(points, endpoints[0]!.label, cell.index);
        return showPoint(point, baseline, measure);
      });
      return [endpoint.label, ...shown];
    });
    const against = endpoints.length > 1 ? `; in brackets the speed-up over ${endpoints[0]!.label}` : "";
    const { title, caption } = measure;
    return { title, caption: `${caption}${against}.`, header: ["", ...measured.map((cell) => cell.label)], rows };
  });
}

function showPoint(point: Point | undefined, baseline: Point | undefined, measure: Measure): string {
  if (point === undefined || point.figures.status === "empty") return "-";
  if (point.figures.status === "timeout") return "Timeout";
  if (point.figures.status === "error") return "Error";
  const value = measure.of(point.figures);
  if (value === undefined || !Number.isFinite(value)) return "-";
  const base = baseline?.figures.status === "ok" ? measure.of(baseline.figures) : undefined;
  if (base === undefined) return measure.show(value);
  return `${measure.show(value)} (${formatSpeedup(measure.higherIsBetter ? value / base : base / value)})`;
}

/** Every figure of every point. */
export function detailTable(points: readonly Point[]): ReportTable {
  const rows: string[][] = [];
  for (const { endpoint, cell, figures } of points) {
    const { finished, failed, requestsPerS } = figures;
    for (const [name, distribution] of [
      ["TTFT", figures.ttftMs],
      ["ITL", figures.itlMs],
      ["TPOT", figures.tpotMs],
      ["E2E", figures.e2eMs],
    ] as const) {
      const { mean, p50, p90, p95, p99, max } = distribution ?? {};
      const isFirst = name === "TTFT";
      const ended = isFirst ? [`${finished}+${failed}`, threeDigits(requestsPerS)] : ["", ""];
      const lead = isFirst ? `${endpoint.label} ${cell.label}` : "";
      rows.push([lead, name, ...[mean, p50, p90, p95, p99, max].map(formatMs), ...ended]);
    }
  }
  return {
    title: "Every figure",
    caption: "By endpoint and load; `done` is finished + failed requests.",
    header: ["", "", "mean", "p50", "p90", "p95", "p99", "max", "done", "req/s"],
    rows,
  };
}

/** Failures by kind, and goodput; undefined when nothing failed. */
export function errorTable(points: readonly Point[]): ReportTable | undefined {
  const rows = points.flatMap(({ endpoint, cell, figures, records }) =>
    Object.entries(figures.errors).map(([kind, count]) => {
      const example = records.find((record) => record.error?.kind === kind)?.error?.detail ?? "";
      const share = formatPercent(count / (figures.finished + figures.failed));
      return [`${endpoint.label} ${cell.label}`, kind, `${count} (${share})`, example.slice(0, 80)];
    }),
  );
  if (rows.length === 0) return undefined;
  const caption = "Requests that did not finish, by kind, with an example of what the server said.";
  return { title: "Errors", caption, header: ["", "kind", "requests", "example"], rows };
}
