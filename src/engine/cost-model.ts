const FEATURES = 4;
/** Weight of a sample after n newer ones is FORGET^n: about the last 2000 steps count. */
const FORGET = 0.9995;
/** Prior: what a step is assumed to cost before any was seen. Replaced within a few steps. */
const PRIOR_MS = [1, 0.2, 0.2, 0] as const;
const PRIOR_VARIANCE = 1e3;
/** The covariance may not grow past the prior's while steps look alike (the usual wind-up of recursive least squares). */
const MAX_TRACE = FEATURES * PRIOR_VARIANCE;
/** Samples after which the weights mean something. */
const SETTLED = 32;
/** Time over which the pace is averaged, and at most so much of it from one step. */
const PACE_MS = 600;
const MOST_OF_PACE = 0.3;
/** Further off than by this factor, a step tells nothing about the pace. */
const MOST_OFF = 2;
/** The same for the deviation. */
const DEVIATION_MS = 1000;
const MOST_OF_DEVIATION = 0.2;
/** Errors of shorter steps count as if they took this long. */
const LEAST_MS = 0.1;

/**
 * Predicts the time of a step from what it carries:
 *
 *   ms = pace * (c0 + c1 * decode tokens + c2 * prefill tokens + c3 * thousands of context tokens attended to)
 *
 * The coefficients come from recursive least squares with forgetting; they are the model's and change slowly. The pace is
 * the machine's: other processes, memory and clock frequency stretch whatever a step does, for a second or for minutes.
 *
 * Errors are relative throughout. Absolute ones would let a run of short decode steps promise that the next long prefill
 * step is as exact as they were, and would let one late step move the coefficients further than a hundred others.
 */
export class CostModel {
  readonly #weights = Float64Array.from(PRIOR_MS);
  /** [FEATURES, FEATURES] */
  readonly #covariance = new Float64Array(FEATURES * FEATURES);
  readonly #x = new Float64Array(FEATURES);
  readonly #gain = new Float64Array(FEATURES);
  #pace = 1;
  #variance = 0;
  numSamples = 0;

  constructor() {
    for (let i = 0; i < FEATURES; i++) this.#covariance[i * FEATURES + i] = PRIOR_VARIANCE;
  }

  predictMs(numDecodes: number, numPrefill: number, numContext: number): number {
    return this.#pace * this.#usualMs(numDecodes, numPrefill, numContext);
  }

  /** Standard deviation of recent predictions' errors, as a share of what was predicted. */
  get deviation(): number {
    return Math.sqrt(this.#variance);
  }

  /**
   * Tokens of a prompt, of which `start` are computed, that fit into `budgetMs` beside `numDecodes` decodes and
   * `numPrefill` tokens of other prompts, which attend to `numContext`: by the mean and two deviations. May be zero or
   * less.
   */
  prefillTokensWithin(
    budgetMs: number,
    numDecodes: number,
    numPrefill: number,
    numContext: number,
    start: number,
  ): number {
    const left = budgetMs / (1 + 2 * this.deviation) - this.predictMs(numDecodes, numPrefill, numContext);
    const perContext = (this.#pace * Math.max(0, this.#weights[3]!)) / 1000;
    // A cost of nothing a token would make chunks unbounded on noise.
    const perToken = Math.max(this.#pace * this.#weights[2]! + perContext * start, 1e-6);
    // n tokens attend to n / 2 more on average: perToken * n + perContext * n^2 / 2 = left, solved without cancellation.
    if (left <= 0) return Math.floor(left / perToken);
    return Math.floor((2 * left) / (perToken + Math.sqrt(perToken * perToken + 2 * perContext * left)));
  }

  observe(numDecodes: number, numPrefill: number, numContext: number, ms: number): void {
    const usualMs = this.#usualMs(numDecodes, numPrefill, numContext);
    if (this.numSamples >= SETTLED) this.#follow(usualMs, ms);
    // The geometric mean of both, so that a step twice as long and one half as long weigh alike; bounded, so that a
    // prediction near nothing makes no sample infinitely heavy.
    const scale = 1 / Math.max(Math.sqrt(ms * Math.max(usualMs, ms / 4)), usualMs / 2, LEAST_MS);
    const x = this.#x;
    x[0] = scale;
    x[1] = scale * numDecodes;
    x[2] = scale * numPrefill;
    x[3] = (scale * numContext) / 1000;
    this.#update(scale * ms - this.#dot());
    this.numSamples++;
  }

  #usualMs(numDecodes: number, numPrefill: number, numContext: number): number {
    const w = this.#weights;
    return Math.max(0, w[0]! + w[1]! * numDecodes + w[2]! * numPrefill + (w[3]! * numContext) / 1000);
  }

  /** Pace and deviation are averages over time, not over steps: short steps come in hundreds. */
  #follow(usualMs: number, ms: number): void {
    const expectedMs = Math.max(this.#pace * usualMs, LEAST_MS);
    const error = Math.max(-1, Math.min(1, ms / expectedMs - 1));
    this.#variance += Math.min(MOST_OF_DEVIATION, ms / DEVIATION_MS) * (error * error - this.#variance);
    const pace = Math.max(1 / MOST_OFF, Math.min(MOST_OFF, ms / Math.max(usualMs, LEAST_MS)));
    this.#pace += Math.min(MOST_OF_PACE, ms / PACE_MS) * (pace - this.#pace);
  }

  #dot(): number {
    let sum = 0;
    for (let i = 0; i < FEATURES; i++) sum += this.#weights[i]! * this.#x[i]!;
    return sum;
  }

  #update(error: number): void {
    const p = this.#covariance;
    const x = this.#x;
    const gain = this.#gain;
    let denominator = FORGET;
    for (let i = 0; i < FEATURES; i++) {
      let sum = 0;
      for (let j = 0; j < FEATURES; j++) sum += p[i * FEATURES + j]! * x[j]!;
      gain[i] = sum;
      denominator += sum * x[i]!;
    }
    let trace = 0;
    for (let i = 0; i < FEATURES; i++) trace += p[i * FEATURES + i]!;
    const forget = trace < MAX_TRACE ? FORGET : 1;
    for (let i = 0; i < FEATURES; i++) {
      this.#weights[i]! += (gain[i]! / denominator) * error;
      for (let j = 0; j < FEATURES; j++) {
        const at = i * FEATURES + j;
        p[at] = (p[at]! - (gain[i]! * gain[j]!) / denominator) / forget;
      }
    }
  }
}
