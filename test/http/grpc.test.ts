import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect as connectHttp2, constants } from "node:http2";
import { connect as connectSocket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { Limits } from "../../src/config/limits.ts";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { CompleteRequestSchema, InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { encodeFrame } from "../../src/http/connect/frame-sink.ts";
import { createGrpcServer, type GrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { API_KEY, createFixture, type LogLine, MODEL, type ScriptedReplica } from "./connect-fixture.ts";
import { rpcCases } from "./rpc-cases.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

describe("gRPC", () => {
  rpcCases(
    "grpc",
    async (deps) => {
      const server = await createGrpcServer(deps, LOCAL);
      return { baseUrl: `http://127.0.0.1:${server.port}`, stop: () => server.close(false) };
    },
    createGrpcTransport,
  );
});

let replica: ScriptedReplica;
let logged: LogLine[];
let server: GrpcServer;
const hi = { model: MODEL, prompt: { case: "text", value: "hi" } } as const;

async function start(limits: Partial<Limits> = {}): Promise<void> {
  const fixture = createFixture(limits);
  replica = fixture.replica;
  logged = fixture.logged;
  server = await createGrpcServer(fixture.deps, LOCAL);
}

function transport() {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${API_KEY}`);
    return next(request);
  };
  return createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.port}`, interceptors: [authorize] });
}

async function codeOf(run: Promise<unknown>): Promise<Code> {
  try {
    await run;
  } catch (error) {
    return ConnectError.from(error).code;
  }
  throw new Error("the call succeeded");
}

const collect = async <T>(stream: AsyncIterable<T>): Promise<T[]> => {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
};

beforeEach(() => start());
afterEach(() => server.close(false));

describe("health", () => {
  const health = () => createClient(Health, createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.port}` }));

  test("Check and List follow the gateway, without a key", async () => {
    const client = health();
    for (const [ready, status] of [
      [true, Status.SERVING],
      [false, Status.NOT_SERVING],
    ] as const) {
      replica.ready = ready;
      expect((await client.check({})).status).toBe(status);
      expect((await client.check({ service: InferenceService.typeName })).status).toBe(status);
      const { statuses } = await client.list({});
      expect(Object.keys(statuses)).toContain(InferenceService.typeName);
      expect(Object.values(statuses).every((entry) => entry.status === status)).toBe(true);
    }
    expect(await codeOf(client.check({ service: "none" }))).toBe(Code.NotFound);
  });

  test("Watch tells of each change, of an unknown service, and of the shutdown", async () => {
    const client = health();
    const statuses: Status[] = [];
    const watching = (async () => {
      for await (const { status } of client.watch({})) {
        statuses.push(status);
        if (statuses.length === 1) replica.ready = false;
        if (statuses.length === 2) replica.ready = true;
        if (statuses.length === 3) void server.close(true);
      }
    })();
    const unknown = client.watch({ service: "none" })[Symbol.asyncIterator]();
    expect((await unknown.next()).value?.status).toBe(Status.SERVICE_UNKNOWN);
    expect(await codeOf(watching)).toBe(Code.Unavailable);
    expect(statuses).toEqual([Status.SERVING, Status.NOT_SERVING, Status.SERVING, Status.NOT_SERVING]);
    expect(await codeOf(unknown.next())).toBe(Code.Unavailable);
    await server.close(true);
  });
});

describe("stopping", () => {
  test("gracefully, a running stream ends first and new calls are refused", async () => {
    replica.tokenMs = 5;
    const client = createClient(InferenceService, transport());
    const running = collect(client.generate({ ...hi, sampling: { maxTokens: 40 } }));
    await replica.untilRunning(1);
    const closing = server.close(true);
    expect(await codeOf(createClient(InferenceService, transport()).listModels({}))).toBe(Code.Unavailable);
    expect(await running).toHaveLength(42);
    await closing;
  });

  test("at once, a running stream ends with UNAVAILABLE", async () => {
    replica.tokenMs = 5;
    const client = createClient(InferenceService, transport());
    const running = codeOf(collect(client.generate(hi)));
    await replica.untilRunning(1);
    const closing = server.close(true);
    await server.close(false);
    expect(await running).toBe(Code.Unavailable);
    await closing;
    expect(replica.running).toBe(0);
  });

  test("peers that never close their side do not hold it up", async () => {
    for (const graceful of [true, false]) {
      // Nothing reads these sockets, so the server's end of a connection never brings the peer's.
      const peers = ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0"].map((bytes) => {
        const peer = connectSocket(server.port, "127.0.0.1").on("error", () => {});
        if (bytes !== "") peer.write(bytes, "latin1");
        return peer;
      });
      await Promise.all(peers.map((peer) => new Promise<void>((resolve) => peer.once("connect", () => resolve()))));
      // A call answered after them: the server has accepted both.
      await createClient(InferenceService, transport()).listModels({});
      await server.close(graceful);
      for (const peer of peers) peer.destroy();
      await start();
    }
  });

  test("a bare TCP connection, such as a port check's, is not lingered for", async () => {
    const peer = connectSocket({ port: server.port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => {});
    await new Promise<void>((resolve) => peer.once("connect", () => resolve()));
    await createClient(InferenceService, transport()).listModels({});
    const startedMs = performance.now();
    await server.close(true);
    expect(performance.now() - startedMs).toBeLessThan(800);
    peer.destroy();
    await start();
  });

  test("a port in use is an error", async () => {
    const { deps } = createFixture();
    await expect(createGrpcServer(deps, { ...LOCAL, port: server.port })).rejects.toThrow();
  });
});

describe("bounds", () => {
  /** A Generate request as gRPC frames it: model, then text "hi". */
  const message = (): Buffer => {
    const fields = Buffer.concat([Buffer.from([0x0a, MODEL.length]), Buffer.from(MODEL), Buffer.from("\x12\x02hi")]);
    return Buffer.concat([Buffer.from([0, 0, 0, 0, fields.length]), fields]);
  };
  const call = (key = API_KEY, method = "Generate") => {
    const session = connectHttp2(`http://127.0.0.1:${server.port}`);
    session.on("error", () => {});
    const stream = session.request({
      ":method": "POST",
      ":path": `/scalellm.v1.InferenceService/${method}`,
      "content-type": "application/grpc",
      authorization: `Bearer ${key}`,
      te: "trailers",
    });
    stream.on("error", () => {});
    const status = new Promise<string>((resolve) => {
      const note = (headers: Record<string, unknown>): void => {
        if (headers["grpc-status"] !== undefined) resolve(String(headers["grpc-status"]));
      };
      stream.on("response", note);
      stream.on("trailers", note);
    });
    const closed = new Promise<void>((resolve) => stream.on("close", resolve));
    return { session, stream, status, closed };
  };
  const restart = async (limits: Partial<Limits>): Promise<void> => {
    await server.close(false);
    await start(limits);
  };

  test("a key is checked before the body arrives, and the rest of the body is not wanted", async () => {
    const { session, stream, status, closed } = call("wrong");
    stream.write(Buffer.from([0]));
    expect(await status).toBe(String(Code.Unauthenticated));
    stream.resume();
    await closed;
    session.destroy();
  });

  test("a body that never arrives ends the call", async () => {
    await restart({ bodyDeadlineMs: 200 });
    const { session, stream, status } = call();
    stream.write(message().subarray(0, 7));
    expect(await status).toBe(String(Code.DeadlineExceeded));
    session.destroy();
  });

  test("a connection that is cut frees the replica", async () => {
    replica.tokenMs = 2;
    const { session, stream } = call();
    stream.end(message());
    await replica.untilRunning(1);
    session.destroy();
    await replica.untilRunning(0);
  });

  test("a reader that stalls stops the tokens, and is dropped", async () => {
    await restart({ stalledReaderMs: 200 });
    replica.tokenText = () => "x".repeat(64 * 1024);
    const { session, stream, closed } = call();
    stream.end(message());
    await replica.untilRunning(1);
    await replica.untilRunning(0);
    expect(replica.tokens).toBeLessThan(100);
    stream.resume();
    await closed;
    expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
    expect(logged.at(-1)).toMatchObject({ code: "canceled", reason: "stalled_reader" });
    session.destroy();
  });

  test("a reader that stalls in a long answer of one message, or leaves, is logged as that", async () => {
    await restart({ stalledReaderMs: 200 });
    const request = create(CompleteRequestSchema, {
      model: MODEL,
      prompt: { case: "tokenIds", value: { ids: Array.from({ length: 20_000 }, (_, i) => i % 256) } },
      sampling: { maxTokens: 1, promptLogprobs: 1 },
    });
    const body = encodeFrame(CompleteRequestSchema, request);
    const stalled = call(API_KEY, "Complete");
    stalled.stream.end(body);
    while (logged.length === 0) await Bun.sleep(1);
    expect(logged).toMatchObject([{ code: "canceled", reason: "stalled_reader", outputTokens: 1 }]);
    stalled.session.destroy();

    const leaving = call(API_KEY, "Complete");
    leaving.stream.end(body);
    await new Promise((resolve) => leaving.stream.once("response", resolve));
    leaving.session.destroy();
    while (logged.length === 1) await Bun.sleep(1);
    expect(logged[1]).toMatchObject({ code: "canceled", outputTokens: 1 });
    expect(logged[1]!.reason).toBeUndefined();

    const whole = call(API_KEY, "Complete");
    whole.stream.end(body);
    whole.stream.resume();
    expect(await whole.status).toBe("0");
    while (logged.length === 2) await Bun.sleep(1);
    expect(logged[2]).toMatchObject({ code: "ok", outputTokens: 1 });
    whole.session.destroy();
  }, 30_000);

  test("a connection carries no more streams than allowed", async () => {
    await restart({ maxGrpcStreams: 2 });
    replica.tokenMs = 2;
    const { session, stream } = call();
    const more = [1, 2].map(() =>
      session.request({ ...stream.sentHeaders, ":path": "/scalellm.v1.InferenceService/Generate" }),
    );
    for (const each of [stream, ...more]) each.on("error", () => {}).end(message());
    // Clients wait for a free one; this one does not, and is told so.
    await new Promise<void>((resolve) => more[1]!.on("close", () => resolve()));
    expect(more[1]!.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
    await replica.untilRunning(2);
    session.destroy();
    await replica.untilRunning(0);
    expect(replica.requests).toHaveLength(2);
  });

  test("metadata is bounded", async () => {
    const session = connectHttp2(`http://127.0.0.1:${server.port}`);
    session.on("error", () => {});
    const stream = session.request({ ":method": "POST", ":path": "/x", "x-big": "a".repeat(100_000) });
    const outcome = await new Promise<string>((resolve) => {
      stream.on("response", () => resolve("answered"));
      stream.on("error", () => resolve("refused"));
    });
    expect(outcome).toBe("refused");
    session.destroy();
  });

  test("a connection without a preface is dropped, and so is one that answers no ping", async () => {
    await restart({ grpcPrefaceMs: 150 });
    const silent = connectSocket(server.port, "127.0.0.1");
    await new Promise<void>((resolve) => silent.on("close", () => resolve()).resume());
    await restart({ grpcKeepAliveMs: 100 });
    const mute = connectSocket(server.port, "127.0.0.1");
    // The preface and empty settings, and never a word again.
    mute.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0", "latin1");
    await new Promise<void>((resolve) => mute.on("close", () => resolve()).resume());
    // One that does answer lives on.
    const client = createClient(InferenceService, transport());
    replica.tokenMs = 50;
    expect(await collect(client.generate({ ...hi, sampling: { maxTokens: 10 } }))).toHaveLength(12);
  });

  test("connections are bounded in number", async () => {
    await restart({ maxGrpcConnections: 1 });
    const client = createClient(InferenceService, transport());
    await client.listModels({});
    const second = createClient(InferenceService, transport());
    expect(await codeOf(second.listModels({}))).toBeDefined();
    await client.listModels({});
  });
});
