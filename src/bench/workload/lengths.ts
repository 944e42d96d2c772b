import { ServeError } from "../../core/errors.ts";
import type { Rng } from "../stats/rng.ts";

/** A distribution of token counts, all within [min, max]. */
export type LengthDistribution =
  | { kind: "fixed"; tokens: number }
  | { kind: "uniform"; min: number; max: number }
  /** Median and sigma of the underlying normal, the shape measured for chat traffic; clipped to [1, max]. */
  | { kind: "lognormal"; median: number; sigma: number; max: number };

/**
 * Reads `128`, `uniform:64-256`, or `lognormal:128,0.6[,1024]` (median, sigma, largest; the largest defaults to eight
 * medians). Throws ServeError invalid_argument.
 */
export function parseLengths(text: string, option: string): LengthDistribution {
  const fixed = /^(?:fixed:)?(\d+)$/.exec(text);
  if (fixed !== null) return { kind: "fixed", tokens: positive(fixed[1], text, option) };
  const uniform = /^uniform:(\d+)-(\d+)$/.exec(text);
  if (uniform !== null) {
    const min = positive(uniform[1], text, option);
    const max = positive(uniform[2], text, option);
    if (max >= min) return { kind: "uniform", min, max };
  }
  const lognormal = /^lognormal:(\d+),(\d+(?:\.\d+)?)(?:,(\d+))?$/.exec(text);
  if (lognormal !== null) {
    const median = positive(lognormal[1], text, option);
    const max = lognormal[3] === undefined ? 8 * median : positive(lognormal[3], text, option);
    return { kind: "lognormal", median, sigma: Number(lognormal[2]), max };
  }
  throw new ServeError(
    "invalid_argument",
    `${option} ${text}: expected a number of tokens, uniform:MIN-MAX or lognormal:MEDIAN,SIGMA[,MAX].`,
    { param: option },
  );
}

export function sampleLength(lengths: LengthDistribution, rng: Rng): number {
  switch (lengths.kind) {
    case "fixed":
      return lengths.tokens;
    case "uniform":
      return lengths.min + rng.integer(lengths.max - lengths.min + 1);
    case "lognormal": {
      const tokens = Math.round(lengths.median * Math.exp(lengths.sigma * rng.normal()));
      return Math.min(Math.max(tokens, 1), lengths.max);
    }
  }
}

export function describeLengths(lengths: LengthDistribution): string {
  switch (lengths.kind) {
    case "fixed":
      return `${lengths.tokens}`;
    case "uniform":
      return `uniform ${lengths.min}-${lengths.max}`;
    case "lognormal":
      return `log-normal, median ${lengths.median}, sigma ${lengths.sigma}, at most ${lengths.max}`;
  }
}

function positive(digits: string | undefined, text: string, option: string): number {
  const value = Number(digits);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new ServeError("invalid_argument", `${option} ${text}: lengths are at least 1 token.`, { param: option });
}
