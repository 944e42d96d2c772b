import type { Socket, TCPSocketConnectOptions } from "bun";
import { HttpResponseParser } from "./http-response-parser.ts";
import type { ReadQueue } from "./read-queue.ts";

/** Who owns a connection's response. `atMs` is when the bytes came, which may be a moment ago: see ReadQueue. */
export interface Exchange {
  onHead(status: number, headers: ReadonlyMap<string, string>): void;
  onBody(buffer: Buffer, start: number, end: number, atMs: number): void;
  /** `atMs` is undefined where the response ends with its connection. */
  onEnd(atMs: number | undefined): void;
  onCut(cut: Cut, detail: string): void;
}

/** How a response failed to arrive: no byte of it, a part of it, or bytes that are not HTTP. */
export type Cut = "unanswered" | "partial" | "malformed";

/**
 * One keep-alive HTTP/1.1 connection over a raw socket: one exchange at a time. `fetch` is not used because it is capped
 * at 256 concurrent requests a process and copies every chunk through a ReadableStream.
 */
export class Connection {
  readonly #socket: Socket<undefined>;
  readonly #parser: HttpResponseParser;
  #exchange: Exchange | undefined;
  /** Request bytes the kernel has not taken yet. */
  #unsent: Buffer | undefined;
  #closed = false;
  #keepAlive = true;
  /** When the bytes that are being parsed came. */
  #atMs: number | undefined;
  readonly #onIdle: (connection: Connection) => void;

  private constructor(socket: Socket<undefined>, onIdle: (connection: Connection) => void) {
    this.#socket = socket;
    this.#onIdle = onIdle;
    this.#parser = new HttpResponseParser({
      onHead: (status, headers) => {
        this.#keepAlive = headers.get("connection")?.toLowerCase() !== "close";
        this.#exchange?.onHead(status, headers);
      },
      onBody: (buffer, start, end) => this.#exchange?.onBody(buffer, start, end, this.#atMs!),
      onEnd: () => {
        const exchange = this.#exchange;
        this.#exchange = undefined;
        exchange?.onEnd(this.#atMs);
      },
    });
  }

  /** Rejects when the peer refuses, is not there or has no certificate to trust. `onIdle` runs when an exchange has ended and another may begin. */
  static async open(url: URL, reads: ReadQueue, onIdle: (connection: Connection) => void): Promise<Connection> {
    let connection: Connection | undefined;
    const received = (bytes: Buffer, atMs: number): void => connection?.received(bytes, atMs);
    const ended = (detail: string): void => {
      reads.drain();
      connection?.ended(detail);
    };
    const secured = Promise.withResolvers<void>();
    // Awaited below; a failure before that must not count as unhandled.
    secured.promise.catch(() => {});
    const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
    const options: TCPSocketConnectOptions<undefined> = {
      // An IPv6 address is bracketed in a URL.
      hostname: url.hostname.replace(/^\[|\]$/g, ""),
      port,
      ...(url.protocol === "https:" ? { tls: { serverName: url.hostname } } : {}),
      socket: {
        data: (_, bytes) => reads.push(received, bytes),
        drain: () => connection?.drained(),
        close: (_, error) => {
          secured.reject(error ?? new Error("connection closed"));
          ended(error instanceof Error ? error.message : "connection closed");
        },
        error: (_, error) => ended(error.message),
        handshake: (_, success, error) => (success ? secured.resolve() : secured.reject(error)),
      },
      data: undefined,
    };
    const socket = await Bun.connect(options);
    if (url.protocol === "https:") await secured.promise;
    socket.setNoDelay(true);
    connection = new Connection(socket, onIdle);
    return connection;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(request: Buffer, exchange: Exchange): void {
    this.#parser.reset();
    this.#exchange = exchange;
    this.#write(request);
  }

  /** Ends the connection and whatever runs on it, silently. */
  destroy(): void {
    this.#exchange = undefined;
    this.#closed = true;
    this.#socket.terminate();
  }

  received(bytes: Buffer, atMs: number): void {
    if (this.#closed) return;
    this.#atMs = atMs;
    try {
      this.#parser.push(bytes);
    } catch (error) {
      this.#fail("malformed", error instanceof Error ? error.message : String(error));
      this.destroy();
      return;
    }
    if (!this.#parser.done || this.#closed) return;
    if (this.#keepAlive) this.#onIdle(this);
    else this.destroy();
  }

  drained(): void {
    const rest = this.#unsent;
    this.#unsent = undefined;
    if (rest !== undefined) this.#write(rest);
  }

  ended(detail: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#atMs = undefined;
    if (!this.#parser.close()) this.#fail(this.#parser.idle ? "unanswered" : "partial", detail);
  }

  #write(bytes: Buffer): void {
    const written = this.#socket.write(bytes);
    if (written < 0) this.ended("connection closed");
    else if (written < bytes.length) this.#unsent = bytes.subarray(written);
  }

  #fail(cut: Cut, detail: string): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.onCut(cut, detail);
  }
}
