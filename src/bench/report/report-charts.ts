import { type Point, pointAt, type RunResults } from "../results.ts";
import { quantileOfSorted, sortedCopy } from "../stats/distribution.ts";
import { type CellFigures, latenciesOf } from "../stats/summary.ts";
import type { Cell } from "../types.ts";
import { formatMs, threeDigits } from "./format.ts";
import type { LineChart, Series } from "./line-chart.ts";
import { categoryScale, linearScale, logScale, percentileScale, type Scale } from "./scale.ts";

/** Latencies that span more than this are drawn on a logarithmic axis. */
const LOG_SPAN = 30;
const PERCENTILES = [0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.9];
/** Bins of a timeline: a point every few pixels. */
const BINS = 80;

/** Figures against the load: a point a cell. Points where most requests failed have no figure and are left out. */
export function loadCharts(results: RunResults, points: readonly Point[]): LineChart[] {
  const ok = points.filter((point) => point.figures.status === "ok");
  if (ok.length === 0) return [];
  const xs = [...new Set(ok.map((point) => point.cell.x))].sort((a, b) => a - b);
  const closed = results.info.cells.every((cell) => cell.load.kind === "closed");
  const along = {
    xLabel: closed ? "concurrent requests" : "requests a second",
    x: categoryScale(xs),
    formatX: (value: number) => `${value}`,
  };
  const latency = (
    title: string,
    subtitle: string,
    of: readonly [string, (f: CellFigures) => number | undefined][],
  ) => {
    const series = seriesOf(results, ok, of);
    return { ...along, title, subtitle, y: latencyScale(series), formatY: formatMs, series };
  };
  const rate = (title: string, subtitle: string, of: (f: CellFigures) => number | undefined) => {
    const series = seriesOf(results, ok, [["", of]]);
    return { ...along, title, subtitle, y: linearScale(0, highest(series)), formatY: threeDigits, series };
  };
  const charts: LineChart[] = [
    rate("Throughput", "output tokens a second; higher is better", (f) => f.outputTokensPerS),
    latency("Latency with streaming output", "end to end; lower is better", [
      ["mean", (f) => f.e2eMs?.mean],
      ["p99", (f) => f.e2eMs?.p99],
    ]),
    latency("Time to first token", "lower is better", [
      ["p50", (f) => f.ttftMs?.p50],
      ["p99", (f) => f.ttftMs?.p99],
    ]),
    latency("Inter-token latency", "gaps between content events; lower is better", [
      ["p50", (f) => f.itlMs?.p50],
      ["p99", (f) => f.itlMs?.p99],
    ]),
  ];
  if (xs.length > 1) charts.push(tradeOffChart(results, ok));
  if (results.info.slo !== undefined)
    charts.push({ ...rate("Goodput", "requests a second within the SLO", (f) => f.goodput?.requestsPerS), wide: true });
  return charts.filter((chart) => chart.series.length > 0);
}

/** What throughput costs in latency: a point a load, so endpoints compare at equal output whatever the load was called. */
function tradeOffChart(results: RunResults, ok: readonly Point[]): LineChart {
  const series = results.info.endpoints.flatMap(({ label }, color): Series[] => {
    const drawn = ok
      .filter((point) => point.endpoint.label === label)
      .flatMap(({ figures }) =>
        figures.e2eMs === undefined ? [] : [[figures.outputTokensPerS, figures.e2eMs.mean] as const],
      );
    return drawn.length === 0 ? [] : [{ name: label, color, dots: true, points: drawn }];
  });
  const fastest = Math.max(...series.flatMap(({ points }) => points.map(([x]) => x)), 1e-9);
  return {
    title: "Latency against throughput",
    subtitle: "mean end to end, a point for each load; further right and lower is better",
    xLabel: "output tokens a second",
    x: linearScale(0, fastest, 8),
    y: latencyScale(series),
    formatX: threeDigits,
    formatY: formatMs,
    series,
    wide: true,
  };
}

/** One cell from inside: the percentile curves of each latency, and the gaps over time. */
export function cellCharts(results: RunResults, points: readonly Point[], cell: Cell): LineChart[] {
  const here = results.info.endpoints.flatMap((endpoint, color) => {
    const point = pointAt(points, endpoint.label, cell.index);
    return point === undefined || point.figures.finished === 0 ? [] : [{ label: endpoint.label, color, point }];
  });
  const curve = (title: string, pick: (record: Point["records"][number]) => readonly number[]): LineChart => {
    const series = here.map(({ label, color, point }) => {
      const sorted = sortedCopy(point.records.flatMap(pick));
      const at = (percent: number) => [percent, quantileOfSorted(sorted, percent / 100)] as const;
      return { name: label, color, dots: false, points: sorted.length === 0 ? [] : PERCENTILES.map(at) };
    });
    return {
      title,
      subtitle: "percentiles; the tail is stretched",
      xLabel: "percentile",
      x: percentileScale(),
      y: latencyScale(series),
      formatX: (value) => `${value}`,
      formatY: formatMs,
      series,
    };
  };
  return [
    curve("TTFT percentiles", (record) => {
      const latencies = latenciesOf(record);
      return latencies === undefined ? [] : [latencies.ttftMs];
    }),
    curve("ITL percentiles", (record) => latenciesOf(record)?.itlMs ?? []),
    timeline(here),
  ].filter((chart) => chart.series.some((series) => series.points.length > 0));
}

/** Median and largest gap in each stretch of time, from the cell's first event on. */
function timeline(here: ReadonlyArray<{ label: string; color: number; point: Point }>): LineChart {
  const series: Series[] = [];
  let endS = 0;
  for (const { label, color, point } of here) {
    const finished = point.records.filter((record) => record.error === undefined && record.chunkMs.length > 1);
    const startMs = finished.reduce((least, record) => Math.min(least, record.scheduledMs), Number.POSITIVE_INFINITY);
    const lastMs = finished.reduce((most, record) => Math.max(most, record.chunkMs.at(-1)!), 0);
    const binMs = Math.max((lastMs - startMs) / BINS, 1e-3);
    const bins: number[][] = Array.from({ length: BINS }, () => []);
    for (const { chunkMs } of finished)
      for (let i = 1; i < chunkMs.length; i++)
        bins[Math.min(BINS - 1, Math.floor((chunkMs[i]! - startMs) / binMs))]!.push(chunkMs[i]! - chunkMs[i - 1]!);
    // Stretches without events (another endpoint's turn) break the line: the quantile of nothing is NaN.
    const drawn = bins.map((gaps, index) => ({ atS: ((index + 0.5) * binMs) / 1000, sorted: sortedCopy(gaps) }));
    const line = (q: number) => drawn.map(({ atS, sorted }) => [atS, quantileOfSorted(sorted, q)] as const);
    series.push({ name: `${label} median`, color, dots: false, points: line(0.5) });
    series.push({ name: `${label} largest`, color, dots: false, dashed: true, points: line(1) });
    endS = Math.max(endS, (lastMs - startMs) / 1000);
  }
  return {
    title: "ITL over time",
    subtitle: "gaps between content events in each stretch of the run",
    xLabel: "seconds",
    x: linearScale(0, endS, 6),
    y: latencyScale(series),
    formatX: threeDigits,
    formatY: formatMs,
    series,
    wide: true,
  };
}

/** A line for each endpoint and figure; the second figure of an endpoint is dashed. */
function seriesOf(
  results: RunResults,
  points: readonly Point[],
  figures: ReadonlyArray<readonly [string, (figures: CellFigures) => number | undefined]>,
): Series[] {
  return results.info.endpoints.flatMap((endpoint, color) =>
    figures.flatMap(([name, of], order) => {
      const own = points.filter((point) => point.endpoint.label === endpoint.label);
      const drawn = own.flatMap((point) => {
        const value = of(point.figures);
        return value === undefined || !Number.isFinite(value) ? [] : [[point.cell.x, value] as const];
      });
      const series = { name: `${endpoint.label} ${name}`.trim(), color, dots: true, dashed: order > 0, points: drawn };
      return drawn.length === 0 ? [] : [series];
    }),
  );
}

function highest(series: readonly Series[]): number {
  return Math.max(...series.flatMap(({ points }) => points.map(([, y]) => y)), 1e-9);
}

/** From 0 unless the values span decades. Gaps of 0 do not count: a logarithmic axis shows them at its foot. */
function latencyScale(series: readonly Series[]): Scale {
  const values = series.flatMap(({ points }) => points.map(([, y]) => y)).filter((value) => value > 0);
  if (values.length === 0) return linearScale(0, 1);
  const low = values.reduce((least, value) => Math.min(least, value));
  const high = values.reduce((most, value) => Math.max(most, value));
  return high / low > LOG_SPAN ? logScale(Math.max(low, high / 1e5) * 0.9, high * 1.1) : linearScale(0, high);
}
