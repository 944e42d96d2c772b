import type { Limits } from "../config/limits.ts";
import type { Clock } from "../core/clock.ts";

/**
 * Shares the turns of the event loop between pieces of work that are longer than one: parsing, decoding and encoding of
 * large requests. All of a server's requests have one budget, so that many at once hold a turn no longer than one does.
 * Whoever finds a turn's time spent waits for a turn of its own; those who wait get theirs in the order they came, one a
 * turn, with sockets, timers and the engine's messages served in between.
 */
export class TurnBudget {
  /** When this turn's work began; undefined until somebody asks. */
  private startMs: number | undefined;
  private turnOver: PromiseWithResolvers<void> | undefined;
  private waiting: Array<() => void> = [];
  /** waiting[taken] is the first; shift() would cost the length of a long list. */
  private taken = 0;

  constructor(
    private readonly clock: Pick<Clock, "nowMs">,
    private readonly limits: Pick<Limits, "turnWorkMs">,
  ) {}

  /** Whether work has to stop here and await next(). Cheap enough to ask every few microseconds. */
  spent(): boolean {
    const nowMs = this.clock.nowMs();
    if (this.startMs === undefined) {
      this.begin(nowMs);
      return false;
    }
    return nowMs - this.startMs >= this.limits.turnWorkMs;
  }

  /** Resolves in the next turn, for all who wait: what each then does before it asks again takes microseconds. */
  over(): Promise<void> {
    this.turnOver ??= Promise.withResolvers();
    if (this.startMs === undefined) this.begin(this.clock.nowMs());
    return this.turnOver.promise;
  }

  /** Resolves in a turn that has time for the caller. */
  next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.waiting.push(resolve);
    if (this.startMs === undefined) this.begin(this.clock.nowMs());
    return promise;
  }

  /** Does all the steps of a piece of work, in as many turns as it takes. Rejects with the signal's reason once it aborts. */
  async run(steps: Iterable<unknown>, signal?: AbortSignal): Promise<void> {
    for (const _ of steps) {
      if (!this.spent()) continue;
      await this.next();
      signal?.throwIfAborted();
    }
  }

  private begin(nowMs: number): void {
    this.startMs = nowMs;
    setImmediate(this.endTurn);
  }

  private readonly endTurn = (): void => {
    this.startMs = undefined;
    this.turnOver?.resolve();
    this.turnOver = undefined;
    const wake = this.waiting[this.taken];
    if (wake === undefined) return;
    this.taken++;
    if (this.taken * 2 >= this.waiting.length) {
      this.waiting = this.waiting.slice(this.taken);
      this.taken = 0;
    }
    this.begin(this.clock.nowMs());
    wake();
  };
}
