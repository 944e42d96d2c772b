import type { Clock } from "../core/clock.ts";
import { toServeError } from "../core/errors.ts";
import type { FinishReason, GenerateEvent } from "../core/generate.ts";

/** Where an observer's measurements go. Times in seconds. */
export interface GenerationSink {
  firstToken(seconds: number): void;
  interToken(seconds: number): void;
  end(end: {
    reason: FinishReason;
    endToEndS: number;
    queueS: number;
    tokens: number;
    /** Undefined for fewer than two tokens. */
    perTokenS: number | undefined;
  }): void;
  failed(code: string): void;
}

/** Turns the events of one request into latencies. Cheap: one clock read and one observation a token. */
export class GenerationObserver {
  private readonly startMs: number;
  private firstSeen = false;
  /** When each choice last had output. */
  private readonly lastMs: number[] = [];
  private readonly firstMs: number[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly sink: GenerationSink,
  ) {
    this.startMs = clock.nowMs();
  }

  event(event: GenerateEvent): void {
    if (event.type === "text-delta") this.output(event.index, event.tokenIds.length);
    else if (event.type === "end") this.end(event);
  }

  failed(error: unknown): void {
    this.sink.failed(toServeError(error).code);
  }

  private output(index: number, tokens: number): void {
    if (tokens === 0) return;
    const nowMs = this.clock.nowMs();
    if (!this.firstSeen) {
      this.firstSeen = true;
      this.sink.firstToken((nowMs - this.startMs) / 1000);
    }
    const lastMs = this.lastMs[index];
    if (lastMs === undefined) this.firstMs[index] = nowMs;
    else this.sink.interToken((nowMs - lastMs) / 1000);
    this.lastMs[index] = nowMs;
  }

  private end(event: Extract<GenerateEvent, { type: "end" }>): void {
    const { arrivedMs, scheduledMs } = event.timings;
    const tokens = event.usage.completionTokens;
    const firstMs = this.firstMs[event.index];
    const lastMs = this.lastMs[event.index];
    this.sink.end({
      reason: event.finishReason,
      endToEndS: (this.clock.nowMs() - this.startMs) / 1000,
      // A remote replica's clock is not ours: only the difference means anything.
      queueS: Math.max(0, scheduledMs - arrivedMs) / 1000,
      tokens,
      perTokenS:
        firstMs === undefined || lastMs === undefined || tokens < 2
          ? undefined
          : (lastMs - firstMs) / 1000 / (tokens - 1),
    });
  }
}
