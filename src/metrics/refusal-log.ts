import type { Clock } from "../core/clock.ts";
import type { LogFields, Logger } from "./logger.ts";

/**
 * Access lines of requests that were refused, at most so many a second: who floods a server with them must not fill its
 * disk, nor hide what else happened. What is left out is counted in one line.
 */
export class RefusalLog {
  private secondMs = Number.NEGATIVE_INFINITY;
  private written = 0;
  private suppressed = 0;

  constructor(
    private readonly logger: Logger,
    private readonly clock: Clock,
    private readonly linesPerSecond: number,
  ) {}

  write(message: string, fields: LogFields): void {
    if (this.clock.nowMs() - this.secondMs >= 1000) this.begin();
    if (this.written < this.linesPerSecond) {
      this.written++;
      this.logger.info(message, fields);
      return;
    }
    // A flood that just ended is told of too.
    if (this.suppressed++ === 0) setTimeout(() => this.begin(), 1000).unref();
  }

  private begin(): void {
    if (this.suppressed > 0) this.logger.warn("more requests were refused", { count: this.suppressed });
    this.suppressed = 0;
    this.written = 0;
    this.secondMs = this.clock.nowMs();
  }
}
