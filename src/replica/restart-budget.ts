import type { Clock } from "../core/clock.ts";

/** More deaths than this within the window that nothing explains mean that a new Worker does not help. */
const MAX_UNEXPLAINED = 8;
const WINDOW_MS = 60_000;

/** A Worker's death. */
export interface Death {
  readonly atMs: number;
  /** A request was found to be its cause, or left before it could be tried: it says nothing about the engine. */
  explained: boolean;
}

/** Bounds how often the engine Worker is started again for no known reason. */
export class RestartBudget {
  readonly #clock: Clock;
  #deaths: Death[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  record(): Death {
    const death = { atMs: this.#clock.nowMs(), explained: false };
    this.#deaths.push(death);
    return death;
  }

  get isSpent(): boolean {
    const sinceMs = this.#clock.nowMs() - WINDOW_MS;
    this.#deaths = this.#deaths.filter(({ atMs, explained }) => !explained && atMs >= sinceMs);
    return this.#deaths.length > MAX_UNEXPLAINED;
  }
}
