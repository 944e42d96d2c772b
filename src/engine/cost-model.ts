const FEATURES = 4;
/** Weight of a sample after n newer ones is FORGET^n: about the last 500 steps count. */
const FORGET = 0.998;
/** Prior: what a step is assumed to cost before any was seen. Replaced within a few steps. */
const PRIOR_MS = [1, 0.2, 0.2, 0] as const;
const PRIOR_VARIANCE = 1e3;
/** The covariance may not grow past this while steps look alike (the usual wind-up of recursive least squares). */
const MAX_TRACE = 1e6;

/**
 * Predicts the time of a step from what it carries, by recursive least squares with forgetting over
 * ms = c0 + c1 * decode tokens + c2 * prefill tokens + c3 * thousands of context tokens attended to.
 */
export class CostModel {
  readonly #weights = Float64Array.from(PRIOR_MS);
  /** [FEATURES, FEATURES] */
  readonly #covariance = new Float64Array(FEATURES * FEATURES);
  readonly #x = new Float64Array(FEATURES);
  readonly #gain = new Float64Array(FEATURES);
  #variance = 0;
  numSamples = 0;

  constructor() {
    for (let i = 0; i < FEATURES; i++) this.#covariance[i * FEATURES + i] = PRIOR_VARIANCE;
  }

  predictMs(numDecodes: number, numPrefill: number, numContext: number): number {
    const w = this.#weights;
    return Math.max(0, w[0]! + w[1]! * numDecodes + w[2]! * numPrefill + (w[3]! * numContext) / 1000);
  }

  /** Standard deviation of recent predictions' errors. */
  get deviationMs(): number {
    return Math.sqrt(this.#variance);
  }

  /**
   * Prefill tokens that fit into `budgetMs` beside `numDecodes` decodes, by the mean and two deviations; may be zero or
   * less. `numContext` is what the decodes attend to, `prefillContext` what each prefill token does.
   */
  prefillTokensWithin(budgetMs: number, numDecodes: number, numContext: number, prefillContext: number): number {
    const left = budgetMs - this.predictMs(numDecodes, 0, numContext) - 2 * this.deviationMs;
    // A cost of nothing a token would make chunks unbounded on noise.
    const perToken = Math.max(this.#weights[2]! + (this.#weights[3]! * prefillContext) / 1000, 1e-6);
    return Math.floor(left / perToken);
  }

  observe(numDecodes: number, numPrefill: number, numContext: number, ms: number): void {
    const x = this.#x;
    x[0] = 1;
    x[1] = numDecodes;
    x[2] = numPrefill;
    x[3] = numContext / 1000;
    const error = ms - this.#dot();
    if (this.numSamples >= 2 * FEATURES) this.#variance += 0.05 * (error * error - this.#variance);
    this.#update(error);
    this.numSamples++;
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
