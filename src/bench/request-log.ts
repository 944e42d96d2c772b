import type { RequestRecord } from "./types.ts";

/** Figures of the moment, for the progress line. */
export interface LiveFigures {
  finished: number;
  failed: number;
  inFlight: number;
  /** Mean of the last few dozen requests, ms; NaN before the first. */
  ttftMs: number;
  itlMs: number;
  /** Content events a second over the last seconds. */
  chunksPerS: number;
}

const RECENT = 32;
/** Time constant of the live throughput. */
const RATE_WINDOW_MS = 2000;

/** Collects the records of a cell and keeps the live figures. */
export class RequestLog {
  readonly records: RequestRecord[] = [];
  inFlight = 0;
  chunks = 0;
  failed = 0;
  readonly #recentTtftMs: number[] = [];
  readonly #recentItlMs: number[] = [];
  #rateAtMs: number;
  #rateChunks = 0;
  #chunksPerS = 0;

  constructor(nowMs: number) {
    this.#rateAtMs = nowMs;
  }

  add(record: RequestRecord): void {
    this.records.push(record);
    if (record.error !== undefined) this.failed++;
    const first = record.chunkMs[0];
    if (first === undefined) return;
    push(this.#recentTtftMs, first - record.scheduledMs);
    const last = record.chunkMs[record.chunkMs.length - 1]!;
    if (record.chunkMs.length > 1) push(this.#recentItlMs, (last - first) / (record.chunkMs.length - 1));
  }

  live(nowMs: number): LiveFigures {
    const elapsedMs = nowMs - this.#rateAtMs;
    if (elapsedMs > 0) {
      const rate = ((this.chunks - this.#rateChunks) * 1000) / elapsedMs;
      const weight = 1 - Math.exp(-elapsedMs / RATE_WINDOW_MS);
      this.#chunksPerS = this.#rateChunks === 0 ? rate : this.#chunksPerS + (rate - this.#chunksPerS) * weight;
      this.#rateAtMs = nowMs;
      this.#rateChunks = this.chunks;
    }
    return {
      finished: this.records.length - this.failed,
      failed: this.failed,
      inFlight: this.inFlight,
      ttftMs: average(this.#recentTtftMs),
      itlMs: average(this.#recentItlMs),
      chunksPerS: this.#chunksPerS,
    };
  }
}

function push(recent: number[], value: number): void {
  recent.push(value);
  if (recent.length > RECENT) recent.shift();
}

function average(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0) / values.length;
}
