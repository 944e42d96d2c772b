import { ServeError } from "../../core/errors.ts";
import { type Point, pointsOf, type RunResults } from "../results.ts";
import { type Comparison, compareSamples } from "../stats/compare.ts";
import { formatMs, threeDigits } from "./format.ts";
import type { ReportTable } from "./paper-tables.ts";
import { textTable } from "./text-table.ts";

/** Two points of the same load, compared figure by figure: b against a. */
export interface PointComparison {
  a: Point;
  b: Point;
  title: string;
  comparisons: Comparison[];
}

/** Compares every point that two runs have in common; with one endpoint in each, labels may differ. */
export function compareRuns(a: RunResults, b: RunResults): PointComparison[] {
  const [left, right] = [pointsOf(a), pointsOf(b)];
  const alone = a.info.endpoints.length === 1 && b.info.endpoints.length === 1;
  const out: PointComparison[] = [];
  for (const point of left) {
    const other = right.find(
      ({ cell, endpoint }) => cell.label === point.cell.label && (alone || endpoint.label === point.endpoint.label),
    );
    if (other !== undefined) out.push(comparePoints(point, other));
  }
  if (out.length === 0)
    throw new ServeError("invalid_argument", "The two files share no endpoint and load: nothing can be compared.");
  return out;
}

/** The other endpoints of a run against its first, load by load. */
export function compareEndpoints(results: RunResults, points: readonly Point[]): PointComparison[] {
  const [first, ...others] = results.info.endpoints;
  return others.flatMap((other) =>
    results.info.cells.flatMap((cell) => {
      const at = (label: string): Point | undefined =>
        points.find((point) => point.cell.index === cell.index && point.endpoint.label === label);
      const [a, b] = [at(first!.label), at(other.label)];
      return a === undefined || b === undefined ? [] : [comparePoints(a, b)];
    }),
  );
}

/** Any seed serves; a fixed one makes the report repeatable. */
const BOOTSTRAP_SEED = 1;

function comparePoints(a: Point, b: Point): PointComparison {
  const sample = (point: Point) => ({
    records: point.records,
    outputTokensPerS: point.figures.outputTokensPerS,
    load: point.cell.load,
  });
  const names =
    a.endpoint.label === b.endpoint.label ? a.endpoint.label : `${b.endpoint.label} against ${a.endpoint.label}`;
  return {
    a,
    b,
    title: `${names}, ${a.cell.label}`,
    comparisons: compareSamples(sample(a), sample(b), BOOTSTRAP_SEED),
  };
}

/**
 * The answer in words: at the heaviest load that both endpoints keep up with, how much b puts out and how long its requests
 * take, over a. One sentence for each endpoint after the first.
 */
export function answersOf(compared: readonly PointComparison[]): string[] {
  const heaviest = new Map<string, PointComparison>();
  for (const pair of compared)
    if (pair.a.figures.status === "ok" && pair.b.figures.status === "ok") heaviest.set(pair.b.endpoint.label, pair);
  return [...heaviest.values()].map(({ a, b, comparisons }) => {
    const of = (figure: string): string => {
      const found = comparisons.find((comparison) => comparison.figure === figure)!;
      const { interval } = found;
      const range = interval === undefined ? "" : ` (${interval.low.toFixed(2)} to ${interval.high.toFixed(2)})`;
      return `${(interval?.ratio ?? found.b / found.a).toFixed(2)}x${range}`;
    };
    return (
      `At ${a.cell.label}, ${b.endpoint.label} has ${of("throughput")} the output of ${a.endpoint.label}, ` +
      `${of("E2E mean")} its mean latency and ${of("TTFT p50")} its median time to first token.`
    );
  });
}

const CAPTION =
  "B / A with its 95% confidence interval (bootstrap over sessions); better or worse only where the interval excludes 1.";

export function comparisonTable({ title, comparisons }: PointComparison): ReportTable {
  const rows = comparisons
    .filter(({ a, b }) => Number.isFinite(a) && Number.isFinite(b))
    .map(({ figure, unit, a, b, interval, verdict }) => {
      const show = (value: number): string => (unit === "ms" ? formatMs(value) : `${threeDigits(value)} ${unit}`);
      const ratio = (value: number): string => (Number.isFinite(value) ? value.toFixed(3) : "-");
      const range = interval === undefined ? "-" : `${ratio(interval.low)} .. ${ratio(interval.high)}`;
      return [figure, show(a), show(b), ratio(interval?.ratio ?? b / a), range, verdict];
    });
  return { title, caption: CAPTION, header: ["", "A", "B", "B / A", "95%", "B is"], rows };
}

/** `bench --compare A B` as text. */
export function comparisonReport(a: RunResults, b: RunResults): string {
  const tables = compareRuns(a, b).map(comparisonTable);
  const different =
    a.info.workload === b.info.workload
      ? ""
      : `Workloads differ!\n  A: ${a.info.workload}\n  B: ${b.info.workload}\n\n`;
  return `${different}${CAPTION}\n\n${tables.map(({ title, header, rows }) => `${title}\n\n${textTable(header, rows)}`).join("\n\n")}\n`;
}
