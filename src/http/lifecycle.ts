/** Whether a server takes requests, and which are still running. Shared by every API of a process. */
export class Lifecycle {
  private running = 0;
  private isDraining = false;
  private readonly stop = new AbortController();
  private idleWaiters: Array<() => void> = [];

  /** True once new requests are refused. */
  get draining(): boolean {
    return this.isDraining;
  }

  get inFlight(): number {
    return this.running;
  }

  /** Aborts when the running requests must end now. */
  get stopSignal(): AbortSignal {
    return this.stop.signal;
  }

  /** Counts a request; call the result, once or more, when its last byte has been handed over. */
  begin(): () => void {
    this.running++;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.running--;
      if (this.running > 0) return;
      for (const wake of this.idleWaiters.splice(0)) wake();
    };
  }

  drain(): void {
    this.isDraining = true;
  }

  /** Drains, and ends what runs. */
  abort(reason: unknown): void {
    this.isDraining = true;
    this.stop.abort(reason);
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    if (this.running === 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.idleWaiters.push(resolve);
    return promise;
  }
}
