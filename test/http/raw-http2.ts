import net from "node:net";

export interface Frame {
  type: number;
  flags: number;
  streamId: number;
  payload: Buffer;
}

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array | number[] = []): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, Buffer.from(payload)]);
}

/** A header block of plain literals (RFC 7541, section 6.2.2), each name and value shorter than 127 bytes. */
export function headerBlock(fields: Record<string, string>): Buffer {
  const literals = Object.entries(fields).map(([name, value]) =>
    Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]),
  );
  return Buffer.concat(literals);
}

/** The head of a POST, its stream left open for a body unless `flags` has END_STREAM (1). */
export function post(streamId: number, path: string, fields: Record<string, string> = {}, flags = 4): Buffer {
  const pseudo = { ":method": "POST", ":scheme": "http", ":path": path, ":authority": "test" };
  return frame(1, flags, streamId, headerBlock({ ...pseudo, ...fields }));
}

export const grpcPost = (streamId: number, path: string, flags?: number): Buffer =>
  post(streamId, path, { "content-type": "application/grpc", te: "trailers" }, flags);

/** An HTTP/2 client that sends exactly the frames it is told, and keeps those it gets. It answers SETTINGS, nothing else. */
export class RawHttp2 {
  readonly frames: Frame[] = [];
  closed = false;
  private rest: Buffer = Buffer.alloc(0);
  private wake = Promise.withResolvers<void>();

  private constructor(readonly socket: net.Socket) {
    socket.on("data", (chunk) => this.receive(chunk as Buffer));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      this.changed();
    });
  }

  /** Connects and sends the preface with empty settings. */
  static async connect(port: number, settings: number[] = []): Promise<RawHttp2> {
    const socket = net.connect(port, "127.0.0.1");
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    const client = new RawHttp2(socket);
    client.write(PREFACE, frame(4, 0, 0, settings));
    return client;
  }

  write(...frames: Uint8Array[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** Resolves with the first frame that matches, among those already here too; undefined when the connection closes. */
  async until(matches: (frame: Frame) => boolean): Promise<Frame | undefined> {
    for (let seen = 0; ; ) {
      for (; seen < this.frames.length; seen++) if (matches(this.frames[seen]!)) return this.frames[seen];
      if (this.closed) return undefined;
      await this.wake.promise;
    }
  }

  /** The error code of the connection's GOAWAY; undefined when it closes without. */
  async goaway(): Promise<number | undefined> {
    return (await this.until(({ type }) => type === 7))?.payload.readUInt32BE(4);
  }

  /** Resolves once everything sent before has been looked at: a PING has been answered. */
  async answered(): Promise<void> {
    const mark = Buffer.alloc(8);
    mark.writeUInt32BE(this.frames.length + 1);
    this.write(frame(6, 0, 0, mark));
    await this.until(({ type, flags, payload }) => type === 6 && flags === 1 && payload.equals(mark));
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await this.wake.promise;
  }

  destroy(): void {
    this.socket.destroy();
  }

  private receive(chunk: Buffer): void {
    let bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const end = 9 + bytes.readUIntBE(0, 3);
      const received = {
        type: bytes[3]!,
        flags: bytes[4]!,
        streamId: bytes.readUInt32BE(5),
        payload: bytes.subarray(9, end),
      };
      this.frames.push(received);
      if (received.type === 4 && received.flags === 0) this.write(frame(4, 1, 0));
      bytes = bytes.subarray(end);
    }
    this.rest = bytes;
    this.changed();
  }

  private changed(): void {
    this.wake.resolve();
    this.wake = Promise.withResolvers();
  }
}
