import net from "node:net";

/** A TCP client that sends exactly what it is told and keeps what it gets. */
export class RawClient {
  closed = false;
  private chunks: string[] = [];
  private readonly socket: net.Socket;
  private wake: () => void = () => {};

  private constructor(port: number) {
    this.socket = net.connect(port, "127.0.0.1");
    this.socket.on("data", (data) => {
      this.chunks.push(data.toString("latin1"));
      this.wake();
    });
    const ended = () => {
      this.closed = true;
      this.wake();
    };
    // A reset is one of the ways a server closes; tests look at `closed`.
    this.socket.on("error", ended);
    this.socket.on("close", ended);
  }

  static async connect(url: string): Promise<RawClient> {
    const client = new RawClient(Number(new URL(url).port));
    await new Promise<void>((resolve, reject) => {
      client.socket.once("connect", resolve);
      client.socket.once("error", reject);
    });
    return client;
  }

  write(text: string | Buffer): void {
    this.socket.write(text);
  }

  /** Sends a request's head, and as much of its body as is given. */
  request(
    method: string,
    path: string,
    headers: Record<string, string | number> = {},
    body: string | Buffer = "",
  ): void {
    const lines = Object.entries({ host: "test", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    this.socket.write(
      Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`), Buffer.from(body)]),
    );
  }

  /** A whole JSON post. */
  post(path: string, body: unknown, headers: Record<string, string | number> = {}): void {
    const text = Buffer.from(JSON.stringify(body));
    this.request("POST", path, { "content-length": text.length, ...headers }, text);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Everything so far. */
  get received(): string {
    return this.chunks.join("");
  }

  /** Resolves when `text` has been received; rejects when the connection closes before. */
  async until(text: string): Promise<void> {
    let seen = this.received;
    let count = this.chunks.length;
    while (!seen.includes(text)) {
      if (this.closed) throw new Error(`closed after: ${this.received.slice(-500)}`);
      await this.change();
      // Only what is new is searched: some tests receive tens of megabytes.
      seen = seen.slice(-text.length) + this.chunks.slice(count).join("");
      count = this.chunks.length;
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await this.change();
  }

  private change(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}
