import { receiveMessageOnPort, type MessagePort as WorkerPort } from "node:worker_threads";
import type { Limits } from "../config/limits.ts";
import type { Clock } from "../core/clock.ts";
import { reportFault } from "../core/report-fault.ts";

/**
 * The Worker's end of the way in. Polling costs 0.05 us while it computes; when it is idle it sleeps on a shared word in
 * the kernel and burns nothing. The sender posts first and wakes second, and the sleeper looks at the word before it
 * polls a last time, so no message is slept through.
 */
export class Mailbox<T> {
  readonly #port: WorkerPort;
  readonly #wake: Int32Array;

  constructor(port: MessagePort, wake: SharedArrayBuffer) {
    this.#port = port as unknown as WorkerPort;
    this.#wake = new Int32Array(wake);
  }

  /** The next message, or undefined. */
  poll(): T | undefined {
    return receiveMessageOnPort(this.#port)?.message as T | undefined;
  }

  /** Blocks the thread until there is a message, and takes it; undefined when none came for timeoutMs. */
  wait(timeoutMs: number): T | undefined {
    for (;;) {
      const seen = Atomics.load(this.#wake, 0);
      const message = this.poll();
      if (message !== undefined || timeoutMs <= 0) return message;
      if (Atomics.wait(this.#wake, 0, seen, timeoutMs) === "timed-out") return this.poll();
    }
  }
}

export interface MailboxListenerOptions<T> {
  onMessage(message: T): void;
  /** Takes what onMessage throws. */
  readonly report?: (error: unknown) => void;
  readonly clock: Pick<Clock, "nowMs">;
  readonly limits: Pick<Limits, "turnWorkMs">;
}

/**
 * The same for a thread with an event loop: a promise that the system's wake-up resolves, and a poll, instead of an event.
 * Messages that have piled up are taken for turnWorkMs a turn.
 */
export class MailboxListener<T> {
  readonly #port: WorkerPort;
  readonly #wake: Int32Array;
  readonly #options: MailboxListenerOptions<T>;
  #closed = false;

  constructor(port: MessagePort, wake: SharedArrayBuffer, options: MailboxListenerOptions<T>) {
    this.#port = port as unknown as WorkerPort;
    this.#wake = new Int32Array(wake);
    this.#options = options;
    void this.#listen();
  }

  /** Takes every message that has been posted, at once. */
  drain(): void {
    while (this.#take());
  }

  close(): void {
    this.#closed = true;
    Atomics.notify(this.#wake, 0);
  }

  async #listen(): Promise<void> {
    while (!this.#closed) {
      const seen = Atomics.load(this.#wake, 0);
      await this.#takeAll();
      if (this.#closed) return;
      const { async, value } = Atomics.waitAsync(this.#wake, 0, seen);
      if (async) await value;
    }
  }

  async #takeAll(): Promise<void> {
    const { clock, limits } = this.#options;
    let startMs = clock.nowMs();
    while (this.#take()) {
      if (clock.nowMs() - startMs < limits.turnWorkMs) continue;
      await new Promise((resolve) => setImmediate(resolve));
      startMs = clock.nowMs();
    }
  }

  /** Takes one message, also where its receiver throws over it; false where there is none. */
  #take(): boolean {
    const received = this.#closed ? undefined : receiveMessageOnPort(this.#port);
    if (!received) return false;
    try {
      this.#options.onMessage(received.message as T);
    } catch (error) {
      (this.#options.report ?? reportFault)(error);
    }
    return true;
  }
}

/** The other end. */
export class MailboxSender<T> {
  readonly #port: MessagePort;
  readonly #wake: Int32Array;

  constructor(port: MessagePort, wake: SharedArrayBuffer) {
    this.#port = port;
    this.#wake = new Int32Array(wake);
  }

  send(message: T): void {
    this.#port.postMessage(message);
    Atomics.add(this.#wake, 0, 1);
    Atomics.notify(this.#wake, 0);
  }

  close(): void {
    this.#port.close();
  }
}
