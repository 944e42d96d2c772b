import { quantileOfSorted, sortedCopy } from "../src/bench/stats/distribution.ts";

/** A measurement over repetitions. */
export interface Figure {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function figureOf(values: readonly number[]): Figure {
  const sorted = sortedCopy(values);
  return { median: quantileOfSorted(sorted, 0.5), min: sorted[0]!, max: sorted.at(-1)! };
}

export function formatFigure({ median, min, max }: Figure, digits: number): string {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}-${max.toFixed(digits)})`;
}
