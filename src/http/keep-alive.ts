import type { Clock } from "../core/clock.ts";

/** Calls `beat` whenever a stream has been silent for `periodMs`. One timer, which a touch does not restart. */
export class KeepAlive {
  private lastMs: number;
  private timer: ReturnType<typeof setTimeout>;

  constructor(
    private readonly clock: Clock,
    private readonly periodMs: number,
    private readonly beat: () => void,
  ) {
    this.lastMs = clock.nowMs();
    this.timer = this.armed(periodMs);
  }

  touch(): void {
    this.lastMs = this.clock.nowMs();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private armed(delayMs: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => {
      const silentMs = this.clock.nowMs() - this.lastMs;
      if (silentMs >= this.periodMs) {
        this.touch();
        this.beat();
        this.timer = this.armed(this.periodMs);
      } else {
        this.timer = this.armed(Math.ceil(this.periodMs - silentMs));
      }
    }, delayMs);
  }
}
