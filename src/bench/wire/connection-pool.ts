import type { Clock } from "../../core/clock.ts";
import { Connection } from "./connection.ts";
import { ReadQueue } from "./read-queue.ts";

/** Keep-alive connections to one server. Connections are made on demand and reused last in, first out. */
export class ConnectionPool {
  readonly #url: URL;
  readonly #reads: ReadQueue;
  readonly #idle: Connection[] = [];
  readonly #open = new Set<Connection>();

  constructor(url: URL, clock: Clock) {
    this.#url = url;
    this.#reads = new ReadQueue(clock);
  }

  /** An idle connection if there is one. It may have been closed by the server a moment ago: see `fresh`. */
  reuse(): Connection | undefined {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (!connection.closed) return connection;
      this.#open.delete(connection);
    }
    return undefined;
  }

  /** A new connection. Rejects when it can't be made, or with the signal's reason; a late one waits for the next call. */
  async fresh(signal: AbortSignal): Promise<Connection> {
    const opening = Connection.open(this.#url, this.#reads, (idle) => this.#idle.push(idle)).then((connection) => {
      this.#open.add(connection);
      if (signal.aborted) this.#idle.push(connection);
      return connection;
    });
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      opening.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
    });
  }

  /** Makes sure that this many connections are idle, as far as the server takes them: a refusal shows in the requests. */
  async prepare(count: number, signal: AbortSignal): Promise<void> {
    const missing = count - this.#idle.filter((connection) => !connection.closed).length;
    const opened = await Promise.allSettled(Array.from({ length: Math.max(0, missing) }, () => this.fresh(signal)));
    for (const result of opened) if (result.status === "fulfilled") this.#idle.push(result.value);
  }

  discard(connection: Connection): void {
    connection.destroy();
    this.#open.delete(connection);
  }

  close(): void {
    for (const connection of this.#open) connection.destroy();
    this.#open.clear();
    this.#idle.length = 0;
  }
}
