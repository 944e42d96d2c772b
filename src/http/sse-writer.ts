import type { Limits } from "../config/limits.ts";
import type { TurnBudget } from "./turn-budget.ts";
import type { TurnQueue } from "./turn-queue.ts";

type Controller = Parameters<NonNullable<Bun.DirectUnderlyingSource<Uint8Array>["pull"]>>[0];

/**
 * The writing half of a direct ReadableStream. What is sent within one turn of the event loop goes out as one write, so a
 * step that gave several choices a token costs one system call. Bounded: a sender that awaits what send() returns never
 * has more than maxBufferedStreamBytes and one step's output waiting here.
 */
export class SseWriter {
  /** Resolves when nobody reads any more: the stream was cancelled, dropped or closed. */
  readonly gone: Promise<void>;
  private readonly leave: () => void;
  private readonly attached = Promise.withResolvers<void>();
  private controller: Controller | undefined;
  private pending = "";
  /** Set while the socket takes no more. */
  private full: Promise<void> | undefined;
  private over = false;
  /** Set while an event is written in pieces; what others send then waits behind it. */
  private long: Promise<void> | undefined;
  private behind = "";

  /**
   * `onStalled` is called when the reader took nothing for stalledReaderMs; the connection is then cut. `onBroken` is called
   * when the stream refuses what is written to it.
   */
  constructor(
    private readonly limits: Pick<Limits, "maxBufferedStreamBytes" | "stalledReaderMs">,
    private readonly turns: TurnQueue,
    private readonly onStalled: () => void,
    private readonly onBroken: (error: unknown) => void,
  ) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.leave = resolve;
  }

  get blocked(): boolean {
    return this.full !== undefined || this.long !== undefined;
  }

  /** The stream's pull(): hands over the controller. */
  attach(controller: Controller): void {
    this.controller = controller;
    this.attached.resolve();
    this.flushSoon();
  }

  /** Queues whole events. The result is set while the reader is slow: await it before producing more. */
  send(events: string): Promise<void> | undefined {
    if (this.over) return undefined;
    if (this.long === undefined) return this.append(events);
    this.behind += events;
    return this.long;
  }

  /** Sends events in pieces, about maxBufferedStreamBytes of them at a time, in as many turns as it takes. */
  async sendLong(pieces: Iterable<string>, budget: TurnBudget): Promise<void> {
    while (this.long !== undefined) await this.long;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.long = promise;
    try {
      let text = "";
      for (const piece of pieces) {
        text += piece;
        if (text.length > this.limits.maxBufferedStreamBytes) {
          await this.append(text);
          text = "";
        }
        if (budget.spent()) await budget.next();
        if (this.over) return;
      }
      await this.append(text);
    } finally {
      const { behind } = this;
      this.behind = "";
      this.long = undefined;
      if (behind !== "") this.send(behind);
      resolve();
    }
  }

  private append(text: string): Promise<void> | undefined {
    this.pending += text;
    if (this.pending.length <= this.limits.maxBufferedStreamBytes) this.flushSoon();
    else if (this.controller === undefined) return Promise.race([this.attached.promise, this.gone]);
    else this.flush();
    return this.full;
  }

  /** Resolves when everything sent has been handed to the socket, or the reader is gone. `closing` is called before the end. */
  async close(closing: () => void): Promise<void> {
    await Promise.race([this.attached.promise, this.gone]);
    this.flush();
    while (this.full !== undefined) await this.full;
    if (this.over) return;
    try {
      closing();
    } finally {
      this.end();
      this.controller?.close();
    }
  }

  /** The reader left: what is still sent goes nowhere. */
  drop(): void {
    this.end();
  }

  private end(): void {
    this.over = true;
    this.pending = "";
    this.behind = "";
    this.leave();
  }

  /** At the end of this turn of the event loop, when all of a step's events have come. */
  private flushSoon(): void {
    this.turns.add(this.flush);
  }

  private readonly flush = (): void => {
    if (this.over || this.controller === undefined || this.full !== undefined || this.pending === "") return;
    const events = this.pending;
    this.pending = "";
    let written: unknown;
    try {
      written = this.controller.write(events);
    } catch (error) {
      // A stream that takes no more, for whatever reason, has no reader.
      this.end();
      this.onBroken(error);
      return;
    }
    // A promise means that the socket is full: it resolves when there is room again.
    if (written instanceof Promise) this.full = this.drained(written);
  };

  private async drained(written: Promise<unknown>): Promise<void> {
    const timer = setTimeout(() => this.cut(), this.limits.stalledReaderMs);
    await Promise.race([written.catch(() => {}), this.gone]);
    clearTimeout(timer);
    this.full = undefined;
    this.flush();
  }

  private cut(): void {
    this.end();
    // First, so that the reset below is not taken for the client's.
    this.onStalled();
    // Closing with an error resets the connection; a plain close() would wait for the reader.
    this.controller?.close(new Error("the reader stalled"));
  }
}
