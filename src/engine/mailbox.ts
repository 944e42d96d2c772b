import { receiveMessageOnPort, type MessagePort as WorkerPort } from "node:worker_threads";
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

/** The same for a thread with an event loop: a promise that the system's wake-up resolves, and a poll, instead of an event. */
export class MailboxListener<T> {
  readonly #port: WorkerPort;
  readonly #wake: Int32Array;
  readonly #onMessage: (message: T) => void;
  readonly #report: (error: unknown) => void;
  #closed = false;

  /** `report` takes what onMessage throws. */
  constructor(
    port: MessagePort,
    wake: SharedArrayBuffer,
    onMessage: (message: T) => void,
    report: (error: unknown) => void = reportFault,
  ) {
    this.#port = port as unknown as WorkerPort;
    this.#wake = new Int32Array(wake);
    this.#onMessage = onMessage;
    this.#report = report;
    void this.#listen();
  }

  /** Takes every message that has been posted, also after one that its receiver threw over. */
  drain(): void {
    for (;;) {
      const received = this.#closed ? undefined : receiveMessageOnPort(this.#port);
      if (!received) return;
      try {
        this.#onMessage(received.message as T);
      } catch (error) {
        this.#report(error);
      }
    }
  }

  close(): void {
    this.#closed = true;
    Atomics.notify(this.#wake, 0);
  }

  async #listen(): Promise<void> {
    while (!this.#closed) {
      const seen = Atomics.load(this.#wake, 0);
      this.drain();
      if (this.#closed) return;
      const { async, value } = Atomics.waitAsync(this.#wake, 0, seen);
      if (async) await value;
    }
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
