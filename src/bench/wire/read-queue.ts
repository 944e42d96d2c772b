import type { Clock } from "../../core/clock.ts";

interface Read {
  take: (bytes: Buffer, atMs: number) => void;
  bytes: Buffer;
  atMs: number;
}

/**
 * Notes when bytes came and hands them on once every socket that is ready has been read. What bytes set off (parsing, the
 * next request) would otherwise delay the timestamps of the streams behind them.
 */
export class ReadQueue {
  readonly #clock: Clock;
  #reads: Read[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  push(take: Read["take"], bytes: Buffer): void {
    if (this.#reads.length === 0) setImmediate(() => this.drain());
    this.#reads.push({ take, bytes, atMs: this.#clock.nowMs() });
  }

  /** Hands everything on now: for what must not overtake a read, such as the end of its connection. */
  drain(): void {
    const reads = this.#reads;
    this.#reads = [];
    for (const { take, bytes, atMs } of reads) take(bytes, atMs);
  }
}
