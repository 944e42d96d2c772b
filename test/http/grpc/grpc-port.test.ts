import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect as connectHttp2, constants } from "node:http2";
import { Code, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { LIMITS, type Limits } from "../../../src/config/limits.ts";
import { InferenceService } from "../../../src/gen/scalellm/v1/inference_pb.ts";
import { createGrpcServer, type GrpcServer } from "../../../src/http/grpc/grpc-server.ts";
import { API_KEY, createFixture, MODEL, type ScriptedReplica } from "../connect-fixture.ts";
import { RawClient } from "../raw-client.ts";
import { frame, grpcPost, headerBlock, post, RawHttp2 } from "../raw-http2.ts";

const HTTP_PORT = 8123;
const NOWHERE = "/nowhere";
const GENERATE = "/scalellm.v1.InferenceService/Generate";
/** More than any budget, little enough to be sent within a second. */
const FLOOD_FRAMES = 50_000;

let server: GrpcServer;
let replica: ScriptedReplica;

async function start(limits: Partial<Limits> = {}): Promise<void> {
  const fixture = createFixture(limits);
  replica = fixture.replica;
  server = await createGrpcServer(fixture.deps, { hostname: "127.0.0.1", port: 0, httpPort: HTTP_PORT });
}

function client() {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${API_KEY}`);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.port}`, interceptors: [authorize] });
  return createClient(InferenceService, transport);
}

beforeEach(() => start());
afterEach(() => server.close(false));

describe("floods", () => {
  const repeated = (bytes: Buffer): Buffer => Buffer.concat(Array<Buffer>(FLOOD_FRAMES).fill(bytes));
  const calls = (each: (streamId: number) => Buffer[]): Buffer =>
    Buffer.concat(Array.from({ length: FLOOD_FRAMES / 10 }, (_, i) => each(2 * i + 1)).flat());
  const open = grpcPost(1, NOWHERE);
  const floods: Record<string, Buffer> = {
    PING: repeated(frame(6, 0, 0, Buffer.alloc(8))),
    "acknowledgements of PING": repeated(frame(6, 1, 0, Buffer.alloc(8))),
    "empty SETTINGS": repeated(frame(4, 0, 0)),
    "acknowledgements of SETTINGS": repeated(frame(4, 1, 0)),
    PRIORITY: repeated(frame(2, 0, 7, [0, 0, 0, 1, 16])),
    "WINDOW_UPDATE of the connection": repeated(frame(8, 0, 0, [0, 0, 0, 1])),
    "WINDOW_UPDATE of a stream": Buffer.concat([open, repeated(frame(8, 0, 1, [0, 0, 0, 1]))]),
    "unknown types": repeated(frame(0xbe, 0, 0)),
    GOAWAY: repeated(frame(7, 0, 0, Buffer.alloc(8))),
    "empty DATA": Buffer.concat([open, repeated(frame(0, 0, 1))]),
    "DATA of padding": Buffer.concat([open, repeated(frame(0, 8, 1, [20, ...Buffer.alloc(20)]))]),
    "DATA byte by byte": Buffer.concat([open, repeated(frame(0, 0, 1, [0]))]),
    "empty CONTINUATION": Buffer.concat([grpcPost(1, NOWHERE, 0), repeated(frame(9, 0, 1))]),
    "malformed calls": calls((id) => [frame(1, 5, id, headerBlock({ ":method": "POST" }))]),
    "calls that are reset": calls((id) => [grpcPost(id, NOWHERE), frame(3, 0, id, [0, 0, 0, 8])]),
  };
  for (const [name, bytes] of Object.entries(floods)) {
    test(`${name}: ends that connection, and others are served`, async () => {
      replica.tokenMs = 1;
      const running = Array.fromAsync(
        client().generate({ model: MODEL, prompt: { case: "text", value: "hi" }, sampling: { maxTokens: 50 } }),
      );
      const raw = await RawHttp2.connect(server.port);
      raw.write(bytes);
      // GOAWAY is itself an end, after which an orderly session closes; the others are told why.
      const errorCode = await raw.goaway();
      if (name !== "GOAWAY") expect(errorCode).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      raw.destroy();
      expect(await running).toHaveLength(52);
    });
  }

  test("what a flood does before its end is bounded, and it keeps nothing", async () => {
    const heapBytes = (): number => {
      Bun.gc(true);
      return process.memoryUsage().heapUsed;
    };
    const before = heapBytes();
    for (let i = 0; i < 20; i++) {
      const raw = await RawHttp2.connect(server.port);
      raw.write(floods.PING!);
      expect(await raw.goaway()).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      const answers = raw.frames.filter(({ type, flags }) => type === 6 && flags === 1);
      expect(answers.length).toBeLessThan(4 * LIMITS.grpcFrameBurst);
      raw.destroy();
    }
    expect(heapBytes() - before).toBeLessThan(16 * 1024 * 1024);
  });

  test("calls beyond the number allowed at once: end that connection", async () => {
    await server.close(false);
    await start({ maxGrpcStreams: 2 });
    const raw = await RawHttp2.connect(server.port);
    raw.write(...Array.from({ length: 10_000 }, (_, i) => grpcPost(2 * i + 1, GENERATE)));
    expect(await raw.goaway()).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    raw.destroy();
  });

  test("what a reader sends because it reads is no flood", async () => {
    await server.close(false);
    await start({ grpcFrameBurst: 100, grpcFramesPerS: 1 });
    const hi = { model: MODEL, prompt: { case: "text", value: "hi" } } as const;
    const rpc = client();
    const streams = [1, 2, 3, 4].map(() => Array.fromAsync(rpc.generate({ ...hi, sampling: { maxTokens: 5000 } })));
    for (const events of await Promise.all(streams)) expect(events).toHaveLength(5002);
  });

  test("calls cancelled all at once are no flood", async () => {
    const hi = { model: MODEL, prompt: { case: "text", value: "hi" } } as const;
    replica.tokenMs = 1000;
    const rpc = client();
    const abort = new AbortController();
    const calls = Array.from({ length: 500 }, () => rpc.complete(hi, { signal: abort.signal }).catch(() => {}));
    await replica.untilRunning(500);
    abort.abort();
    await Promise.all(calls);
    await replica.untilRunning(0);
    expect((await rpc.listModels({})).models).toHaveLength(1);
  });
});

describe("a connection's frames", () => {
  test("an acknowledgement of PING that nobody asked for changes nothing", async () => {
    const raw = await RawHttp2.connect(server.port);
    raw.write(frame(6, 1, 0, Buffer.from("unasked!")));
    await raw.answered();
    raw.write(grpcPost(1, NOWHERE, 5));
    expect((await raw.until(({ streamId }) => streamId === 1))?.type).toBe(1);
    raw.destroy();
  });

  test("an answer to the server's own PING keeps the connection", async () => {
    await server.close(false);
    await start({ grpcKeepAliveMs: 400 });
    const raw = await RawHttp2.connect(server.port);
    for (let pings = 0; pings < 3; pings++) {
      const from = raw.frames.length;
      const { payload } = (await raw.until(
        (each) => each.type === 6 && each.flags === 0 && raw.frames.indexOf(each) >= from,
      ))!;
      raw.write(frame(6, 1, 0, payload));
    }
    await raw.answered();
    raw.destroy();
  });

  test("a graceful stop lets a call run longer than a keep-alive takes", async () => {
    await server.close(false);
    await start({ grpcKeepAliveMs: 300 });
    replica.tokenMs = 50;
    const events = Array.fromAsync(
      client().generate({ model: MODEL, prompt: { case: "text", value: "hi" }, sampling: { maxTokens: 30 } }),
    );
    await replica.untilRunning(1);
    const closing = server.close(true);
    expect(await events).toHaveLength(32);
    await closing;
    await start();
  });

  test("errors that the session finds are named in its GOAWAY", async () => {
    const { NGHTTP2_FLOW_CONTROL_ERROR, NGHTTP2_FRAME_SIZE_ERROR, NGHTTP2_COMPRESSION_ERROR } = constants;
    const most = frame(8, 0, 0, [0x7f, 255, 255, 255]);
    const cases: Array<[Buffer[], number]> = [
      [[most, most], NGHTTP2_FLOW_CONTROL_ERROR],
      [[frame(6, 0, 0, [1, 2, 3])], NGHTTP2_FRAME_SIZE_ERROR],
      [[frame(1, 5, 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])], NGHTTP2_COMPRESSION_ERROR],
      [[frame(3, 0, 1, [0, 0, 0, 8])], constants.NGHTTP2_PROTOCOL_ERROR],
    ];
    for (const [frames, errorCode] of cases) {
      const raw = await RawHttp2.connect(server.port);
      raw.write(...frames);
      expect(await raw.goaway()).toBe(errorCode);
      await raw.untilClosed();
    }
  });

  test("a long life counts nothing against a connection: empty DATA, calls refused one by one", async () => {
    await server.close(false);
    await start({ maxGrpcStreams: 1 });
    const raw = await RawHttp2.connect(server.port);
    for (let id = 1; id < 2400; id += 2) {
      raw.write(grpcPost(id, NOWHERE), frame(0, 0, id), frame(0, 1, id));
      await raw.until(({ streamId, flags }) => streamId === id && (flags & 1) === 1);
      raw.frames.length = 0;
    }
    raw.write(post(2401, GENERATE, { "content-type": "application/grpc", authorization: `Bearer ${API_KEY}` }));
    for (let id = 2403; id < 3403; id += 2) {
      raw.write(grpcPost(id, NOWHERE, 5));
      const refusal = await raw.until(({ streamId }) => streamId === id);
      expect(refusal?.payload.readUInt32BE(0)).toBe(constants.NGHTTP2_REFUSED_STREAM);
      raw.frames.length = 0;
    }
    raw.destroy();
  });

  test("a violation ends the calls of its connection", async () => {
    replica.tokenMs = 5;
    const raw = await RawHttp2.connect(server.port);
    const authorization = `Bearer ${API_KEY}`;
    const fields = Buffer.concat([Buffer.from([0x0a, MODEL.length]), Buffer.from(MODEL), Buffer.from("\x12\x02hi")]);
    const message = Buffer.concat([Buffer.from([0, 0, 0, 0, fields.length]), fields]);
    raw.write(post(1, GENERATE, { "content-type": "application/grpc", authorization }), frame(0, 1, 1, message));
    await replica.untilRunning(1);
    raw.write(frame(0, 0, 9));
    expect(await raw.goaway()).toBe(constants.NGHTTP2_PROTOCOL_ERROR);
    await replica.untilRunning(0);
    await raw.untilClosed();
  });
});

describe("an answer without a message", () => {
  /** What comes in the head, and what in the trailers. */
  const answer = async (headers: Record<string, string>) => {
    const session = connectHttp2(`http://127.0.0.1:${server.port}`);
    const head = { ":method": "POST", ":path": GENERATE, "content-type": "application/grpc", te: "trailers" };
    const stream = session.request({ ...head, ...headers }, { endStream: true });
    const came: Record<string, Record<string, unknown>> = {};
    stream.on("response", (fields) => (came.head = fields)).on("trailers", (fields) => (came.trailers = fields));
    stream.resume();
    await new Promise<void>((resolve, reject) => stream.on("close", resolve).on("error", reject));
    session.destroy();
    return came;
  };

  test("has its head and its trailers apart: fields of one are not the other's", async () => {
    const { head, trailers } = await answer({});
    expect([head?.["content-type"], head?.["grpc-status"]]).toEqual(["application/grpc+proto", undefined]);
    expect([trailers?.["content-type"], trailers?.["grpc-status"]]).toEqual([undefined, String(Code.Unauthenticated)]);
  });

  test("comes also to a call without a body", async () => {
    const { trailers } = await answer({ authorization: `Bearer ${API_KEY}` });
    expect(trailers?.["grpc-status"]).toBe(String(Code.Unimplemented));
    expect(decodeURIComponent(String(trailers?.["grpc-message"]))).toContain("missing input message");
  });
});

describe("other protocols", () => {
  const told = (text: string): void => {
    expect(text).toContain("gRPC only");
    expect(text).toContain(`port ${HTTP_PORT}`);
  };

  test("HTTP/1 gets 400 and the port to use, also when its first line comes in pieces", async () => {
    const pieces = [["GET / HTTP/1.1\r\nhost: x\r\n\r\n"], ["POST /v1/chat/comp", "letions HTTP/1.0\r", "\n\r\n"]];
    for (const sent of [...pieces, ["PRI /v1/models HTTP/1.1\r\n\r\n"]]) {
      const raw = await RawClient.connect(`http://127.0.0.1:${server.port}`);
      for (const piece of sent) {
        raw.write(piece);
        await Bun.sleep(5);
      }
      await raw.untilClosed();
      expect(raw.received).toStartWith("HTTP/1.1 400 Bad Request\r\n");
      told(raw.received);
    }
  });

  test("Connect's client shows what it is told", async () => {
    const response = await fetch(`http://127.0.0.1:${server.port}/scalellm.v1.InferenceService/ListModels`, {
      method: "POST",
      body: "{}",
      headers: { "content-type": "application/json" },
    });
    const { code, message } = (await response.json()) as { code: string; message: string };
    expect(code).toBe("unimplemented");
    told(message);
  });

  test("what is no protocol at all is closed", async () => {
    for (const bytes of ["\x16\x03\x01\x02\x00\x01\x00", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "HELLO\r\n", "\0\0\0\0"]) {
      const raw = await RawClient.connect(`http://127.0.0.1:${server.port}`);
      raw.write(Buffer.from(bytes, "latin1"));
      await raw.untilClosed();
      expect(raw.received).toBe("");
    }
  });

  test("over HTTP/2, what is not gRPC gets 415 and the port; gRPC-Web a status", async () => {
    const raw = await RawHttp2.connect(server.port);
    const path = "/scalellm.v1.InferenceService/ListModels";
    raw.write(post(1, path, { "content-type": "application/json" }), frame(0, 1, 1, Buffer.from("{}")));
    told((await raw.until(({ streamId, type }) => streamId === 1 && type === 0))!.payload.toString());
    raw.write(post(3, path, {}, 5));
    told((await raw.until(({ streamId, type }) => streamId === 3 && type === 0))!.payload.toString());
    raw.destroy();
    const session = connectHttp2(`http://127.0.0.1:${server.port}`);
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc-web+proto" });
    stream.end();
    const headers = await new Promise<Record<string, unknown>>((resolve) => stream.on("response", resolve));
    expect(headers["grpc-status"]).toBe(String(Code.Unimplemented));
    told(String(headers["grpc-message"]));
    session.destroy();
  });

  test("a refused request whose body never ends is answered all the same, and its stream closed", async () => {
    const raw = await RawHttp2.connect(server.port);
    raw.write(post(1, NOWHERE, {}), grpcPost(3, NOWHERE));
    for (const id of [1, 3]) {
      expect((await raw.until(({ streamId, type }) => streamId === id && type === 1))?.flags).toBeDefined();
      const reset = await raw.until(({ streamId, type }) => streamId === id && type === 3);
      expect(reset?.payload.readUInt32BE(0)).toBe(constants.NGHTTP2_NO_ERROR);
    }
    raw.destroy();
  });
});
