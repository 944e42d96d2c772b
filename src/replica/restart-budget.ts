import type { Clock } from "../core/clock.ts";

/** More than this many restarts within the window mean that a new Worker does not help. */
const MAX_RESTARTS = 8;
const WINDOW_MS = 60_000;

/** Bounds how often the engine Worker is started again. */
export class RestartBudget {
  readonly #clock: Clock;
  readonly #restartsMs: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False when the budget is spent. */
  take(): boolean {
    const nowMs = this.#clock.nowMs();
    while (this.#restartsMs.length > 0 && this.#restartsMs[0]! < nowMs - WINDOW_MS) this.#restartsMs.shift();
    if (this.#restartsMs.length >= MAX_RESTARTS) return false;
    this.#restartsMs.push(nowMs);
    return true;
  }
}
