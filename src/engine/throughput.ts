/** Tokens computed a second, averaged over about the last hundred steps. */
export class Throughput {
  #tokens = 0;
  #ms = 0;

  observe(tokens: number, ms: number): void {
    this.#tokens = 0.99 * this.#tokens + tokens;
    this.#ms = 0.99 * this.#ms + ms;
  }

  get tokensPerS(): number {
    return this.#ms > 0 ? (1000 * this.#tokens) / this.#ms : 0;
  }

  /** Whole seconds until `tokens` are computed, for Retry-After: 1 to 60. */
  secondsFor(tokens: number): number {
    const rate = this.tokensPerS;
    return rate > 0 ? Math.max(1, Math.min(60, Math.ceil(tokens / rate))) : 1;
  }
}
