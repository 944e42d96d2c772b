import { mean } from "../../src/bench/stats/distribution.ts";

export interface Sample {
  readonly x: number;
  readonly y: number;
}

/**
 * Least squares of y over x through the means of every `pointSamples` samples in a row; what is left over is dropped.
 * Neighbouring samples of a memory size are hardly independent, so the standard error comes from the means' residuals.
 * Throws with fewer than three means.
 */
export function fitTrend(samples: readonly Sample[], pointSamples: number): { slope: number; standardError: number } {
  const n = Math.floor(samples.length / pointSamples);
  if (n < 3) throw new Error(`${samples.length} samples are too few: ${3 * pointSamples} are needed`);
  const points = Array.from({ length: n }, (_, i) => {
    const part = samples.slice(i * pointSamples, (i + 1) * pointSamples);
    return { x: mean(part.map(({ x }) => x)), y: mean(part.map(({ y }) => y)) };
  });
  const meanX = mean(points.map(({ x }) => x));
  const meanY = mean(points.map(({ y }) => y));
  const xx = points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0) / xx;
  const residuals = points.reduce((sum, { x, y }) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  return { slope, standardError: Math.sqrt(residuals / (n - 2) / xx) };
}
