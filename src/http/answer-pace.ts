import type { Clock } from "../core/clock.ts";
import type { GenerateEvent } from "../core/generate.ts";

/** What the access log says of an answer, also of one that was cut. Absent: no token came, or too few for a speed. */
export interface PaceFields {
  readonly outputTokens?: number;
  readonly ttftMs?: number;
  readonly tokensPerS?: number;
}

/** When a request's first token came and how fast the others followed, over all its choices. Reads the clock once, then at the end. */
export class AnswerPace {
  readonly #clock: Clock;
  readonly #arrivedMs: number;
  #firstMs: number | undefined;
  /** Tokens that came with the first, which took no time of their own. */
  #firstTokens = 0;
  #tokens = 0;

  constructor(clock: Clock, arrivedMs: number) {
    this.#clock = clock;
    this.#arrivedMs = arrivedMs;
  }

  event(event: GenerateEvent): void {
    if (event.type !== "text-delta") return;
    this.#tokens += event.tokenIds.length;
    if (this.#firstMs !== undefined || this.#tokens === 0) return;
    this.#firstMs = this.#clock.nowMs();
    this.#firstTokens = this.#tokens;
  }

  /** Call at the end of the answer, whatever ended it. */
  fields(): PaceFields {
    if (this.#firstMs === undefined) return {};
    const ttftMs = tenths(this.#firstMs - this.#arrivedMs);
    const ms = this.#clock.nowMs() - this.#firstMs;
    const later = this.#tokens - this.#firstTokens;
    const speed = later > 0 && ms > 0 ? { tokensPerS: tenths((later * 1000) / ms) } : {};
    return { outputTokens: this.#tokens, ttftMs, ...speed };
  }
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
