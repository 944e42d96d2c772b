import { type ClientHttp2Session, connect } from "node:http2";
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";

interface Started {
  url: string;
  grpc: string;
}

interface Measured {
  longestMs: number;
  rssMiB: number;
}

const SERVICE = "/scalellm.v1.InferenceService";

/** A running turn-server.ts and clients of its APIs. `await using` ends it. */
export class MeasuredServer implements AsyncDisposable {
  private constructor(
    private readonly child: Bun.Subprocess,
    private readonly reply: () => Promise<Measured>,
    /** Rejects when the server has ended: whoever waits for it would wait for ever. */
    private readonly ended: Promise<never>,
    private readonly started: Started,
    private readonly session: ClientHttp2Session,
  ) {}

  static async start(): Promise<MeasuredServer> {
    let next = Promise.withResolvers<never>();
    const child = Bun.spawn([process.execPath, resolve("test/loop/turn-server.ts")], {
      // Its log is part of what requests cost.
      stdio: ["ignore", "ignore", "ignore"],
      ipc(message) {
        next.resolve(message as never);
        next = Promise.withResolvers();
      },
    });
    const ended = child.exited.then((code) => {
      const how =
        child.signalCode === null ? `code ${code}` : `${child.signalCode}, as Bun ends it when a test times out`;
      throw new Error(`the server has ended with ${how}; run test/loop/turn-server.ts to see why`);
    });
    ended.catch(() => {});
    const started: Started = await Promise.race([next.promise, ended]);
    const reply = (): Promise<Measured> => {
      const { promise } = next;
      child.send("measure");
      return promise;
    };
    const session = connect(`http://${started.grpc}`, { settings: { initialWindowSize: 2 ** 24 } });
    session.setLocalWindowSize(2 ** 30);
    session.on("error", () => {});
    return new MeasuredServer(child, reply, ended, started, session);
  }

  /** The longest turn since the last call. */
  async measure(): Promise<Measured> {
    // The turn that ended last is seen by the sampler's next.
    await Promise.race([Bun.sleep(20), this.ended]);
    return Promise.race([this.reply(), this.ended]);
  }

  get url(): string {
    return this.started.url;
  }

  get grpcPort(): number {
    return Number(this.started.grpc.split(":").at(-1));
  }

  /** HTTP status of a JSON request, once all of its answer has come. */
  async rest(path: string, body: unknown): Promise<string> {
    return this.post(path, JSON.stringify(body), { "content-type": "application/json" });
  }

  /** The same for a unary Connect call: protobuf or JSON, or gzip of it. */
  async connect(method: string, message: Uint8Array | string, compress = false): Promise<string> {
    const headers: Record<string, string> = {
      "content-type": `application/${typeof message === "string" ? "json" : "proto"}`,
    };
    if (compress) headers["content-encoding"] = "gzip";
    return this.post(`${SERVICE}/${method}`, compress ? gzipSync(message) : message, headers);
  }

  /** grpc-status of a gRPC call. */
  async grpc(method: string, message: Uint8Array, compress = false): Promise<string> {
    const body = compress ? gzipSync(message) : message;
    const frame = new Uint8Array(5 + body.length);
    frame[0] = compress ? 1 : 0;
    new DataView(frame.buffer).setUint32(1, body.length);
    frame.set(body, 5);
    const stream = this.session.request({
      ":method": "POST",
      ":path": `${SERVICE}/${method}`,
      "content-type": "application/grpc",
      "grpc-encoding": compress ? "gzip" : "identity",
      te: "trailers",
    });
    let status = "";
    const note = (headers: Record<string, unknown>) => {
      status ||= String(headers["grpc-status"] ?? "");
    };
    const { promise, resolve: closed } = Promise.withResolvers<void>();
    stream
      .on("response", note)
      .on("trailers", note)
      .on("close", closed)
      .on("error", () => {})
      .resume();
    stream.end(frame);
    await Promise.race([promise, this.ended]);
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.session.destroy();
    this.child.kill();
    await this.child.exited;
  }

  private async post(path: string, body: BodyInit | Uint8Array, headers: Record<string, string>): Promise<string> {
    const answered = async () => {
      const response = await fetch(this.url + path, { method: "POST", body: body as BodyInit, headers });
      for await (const _ of response.body!);
      return String(response.status);
    };
    return Promise.race([answered(), this.ended]);
  }
}
