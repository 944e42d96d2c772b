import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect as connectSocket, type Socket } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { Authentication } from "../../src/gateway/authentication.ts";
import { GenerateRequestSchema } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import type { RpcDeps } from "../../src/http/connect/rpc-deps.ts";
import { createHttpServer } from "../../src/http/server.ts";
import { silentLogger } from "../../src/metrics/logger.ts";
import { ServerMetrics } from "../../src/metrics/server-metrics.ts";
import { API_KEY, createFixture, type LogLine, MODEL, type ScriptedReplica } from "./connect-fixture.ts";
import { type Listening, rpcCases } from "./rpc-cases.ts";

async function listen(deps: RpcDeps): Promise<Listening> {
  const handle = createConnectHandler(deps);
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    development: false,
    fetch: (request) => handle(request) ?? new Response("elsewhere", { status: 418 }),
  });
  return { baseUrl: `http://127.0.0.1:${server.port}`, stop: () => server.stop(true) };
}

describe("Connect", () => {
  rpcCases("binary", listen, (o) => createConnectTransport({ ...o, httpVersion: "1.1", useBinaryFormat: true }));
  rpcCases("JSON", listen, (o) => createConnectTransport({ ...o, httpVersion: "1.1", useBinaryFormat: false }));
  rpcCases("GET", listen, (o) => createConnectTransport({ ...o, httpVersion: "1.1", useHttpGet: true }));
});

describe("gRPC-Web", () => {
  rpcCases("grpc-web", listen, (o) => createGrpcWebTransport({ ...o, httpVersion: "1.1" }));
});

describe("browser transports", () => {
  // Browsers compress by themselves, so these transports do not.
  const plain = ({ baseUrl, interceptors }: { baseUrl: string; interceptors: [] }) => ({ baseUrl, interceptors });
  rpcCases("connect-web", listen, (o) => web.createConnectTransport(plain(o as never)));
  rpcCases("connect-web gRPC-Web", listen, (o) => web.createGrpcWebTransport(plain(o as never)));
});

/** As served: behind Elysia and the HTTP server's own hooks. */
async function listenMounted(deps: RpcDeps): Promise<Listening> {
  const server = createHttpServer({
    ...deps,
    listen: { host: "127.0.0.1", port: 0 },
    authentication: new Authentication([API_KEY]),
    metrics: new ServerMetrics(deps.clock),
    version: "test",
    corsOrigins: [],
    // Access log lines of the HTTP server are tested elsewhere.
    logger: silentLogger,
    connectHandler: createConnectHandler(deps),
  });
  return { baseUrl: server.url, stop: () => server.stop({ graceful: false }) };
}

describe("mounted", () => {
  rpcCases("HTTP/1.1", listenMounted, (o) => createConnectTransport({ ...o, httpVersion: "1.1" }));
  rpcCases("h2c", listenMounted, (o) => createConnectTransport({ ...o, httpVersion: "2" }));
  rpcCases("gRPC-Web", listenMounted, (o) => createGrpcWebTransport({ ...o, httpVersion: "1.1" }));
});

describe("over plain HTTP", () => {
  let replica: ScriptedReplica;
  let logged: LogLine[];
  let listening: Listening;
  const path = "/scalellm.v1.InferenceService";
  const post = (method: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`${listening.baseUrl}${path}/${method}`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", authorization: `Bearer ${API_KEY}`, ...headers },
    });

  beforeEach(async () => {
    const fixture = createFixture({ bodyDeadlineMs: 300, stalledReaderMs: 300 });
    replica = fixture.replica;
    logged = fixture.logged;
    listening = await listen(fixture.deps);
  });
  afterEach(() => listening.stop());

  test("curl can talk to it: snake_case JSON in and out, unknown fields ignored", async () => {
    const body = { model: MODEL, text: "hi", sampling: { max_tokens: 2, unknown: 1 }, later_field: true };
    const response = await post("Complete", JSON.stringify(body));
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      prompt: { prompt_tokens: 3 },
      choices: [{ index: 0, text: "ab", token_ids: [97, 98], end: { finish_reason: "FINISH_REASON_LENGTH" } }],
    });
  });

  test("errors are Connect's JSON with a readable detail", async () => {
    const response = await post("Complete", JSON.stringify({ model: MODEL, text: "hi", sampling: { top_k: -2 } }));
    expect(response.status).toBe(400);
    const error = (await response.json()) as { code: string; details: Array<{ type: string; debug: unknown }> };
    expect(error.code).toBe("invalid_argument");
    expect(error.details[0]).toMatchObject({
      type: "scalellm.v1.ErrorDetail",
      debug: { param: "sampling.top_k", reason: "invalid_value" },
    });
    expect((await post("Complete", "{")).status).toBe(400);
    expect((await post("Complete", JSON.stringify({ model: 7 }))).status).toBe(400);
  });

  test("other paths, methods and content types", async () => {
    expect((await fetch(`${listening.baseUrl}/v1/models`)).status).toBe(418);
    expect((await post("Nothing", "{}")).status).toBe(404);
    expect((await fetch(`${listening.baseUrl}${path}/Complete`, { method: "PUT" })).status).toBe(405);
    expect((await post("Complete", "x", { "content-type": "text/plain" })).status).toBe(415);
    expect((await post("Complete", "x", { "content-type": "application/grpc" })).status).toBe(415);
  });

  /** Opens a socket, sends a request's head and as much of its body as given. */
  const openRaw = async (
    contentLength: number,
    body: string | Uint8Array,
    key = API_KEY,
    type = "application/connect+json",
    method = "Generate",
  ): Promise<Socket> => {
    const { port } = new URL(listening.baseUrl);
    const socket = connectSocket(Number(port), "127.0.0.1");
    await new Promise<void>((resolve) => socket.once("connect", resolve));
    const head = [
      `POST ${path}/${method} HTTP/1.1`,
      "host: 127.0.0.1",
      `authorization: Bearer ${key}`,
      `content-type: ${type}`,
      `content-length: ${contentLength}`,
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n`);
    socket.write(body);
    return socket;
  };
  const untilData = (socket: Socket, pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk.toString("latin1");
        if (pattern.test(text)) resolve(text);
      });
      socket.on("close", () => reject(new Error(`closed after: ${text}`)));
    });

  test("a key is checked before the body arrives", async () => {
    const socket = await openRaw(1_000_000, "", "wrong");
    expect(await untilData(socket, /unauthenticated/)).toContain("200 OK");
    socket.destroy();
  });

  test("a body that never arrives ends the call", async () => {
    const socket = await openRaw(1000, "abc");
    expect(await untilData(socket, /deadline_exceeded/)).toContain("200 OK");
    socket.destroy();
  });

  /** A whole Generate request as Connect frames it. */
  const envelope = (): string => {
    const json = JSON.stringify({ model: MODEL, text: "hi" });
    return `\0\0\0\0${String.fromCharCode(json.length)}${json}`;
  };

  test("a socket that is cut frees the replica", async () => {
    replica.tokenMs = 2;
    const socket = await openRaw(envelope().length, envelope());
    await untilData(socket, /text_delta/);
    expect(replica.running).toBe(1);
    socket.destroy();
    await replica.untilRunning(0);
  });

  const binary = toBinary(
    GenerateRequestSchema,
    create(GenerateRequestSchema, { model: MODEL, prompt: { case: "text", value: "hi" } }),
  );
  test.each([
    ["connect+json", envelope()],
    ["connect+proto", Uint8Array.from([0, 0, 0, 0, binary.length, ...binary])],
    ["grpc-web+proto", Uint8Array.from([0, 0, 0, 0, binary.length, ...binary])],
  ])("%s: a reader that stalls stops the tokens, is dropped, and is logged as what it is", async (type, body) => {
    replica.tokenText = () => "x".repeat(64 * 1024);
    const socket = await openRaw(body.length, body, API_KEY, `application/${type}`);
    socket.on("error", () => {}).pause();
    await replica.untilRunning(1);
    await replica.untilRunning(0);
    // What the sockets' buffers hold, and no more: the whole output would be 100k tokens, 6 GiB.
    expect(replica.tokens).toBeLessThan(500);
    await new Promise<void>((resolve) => socket.on("close", () => resolve()).resume());
    expect(logged.at(-1)).toMatchObject({ code: "canceled", reason: "stalled_reader" });
  });

  test("a reader that stalls in a long answer of one message, or leaves, is logged as that", async () => {
    const ids = Array.from({ length: 90_000 }, (_, i) => i % 256);
    const sampling = { max_tokens: 1, prompt_logprobs: 1 };
    const body = JSON.stringify({ model: MODEL, token_ids: { ids }, sampling });
    const open = () => openRaw(body.length, body, API_KEY, "application/json", "Complete");
    const stalled = await open();
    stalled.on("error", () => {}).pause();
    while (logged.length === 0) await Bun.sleep(1);
    expect(logged).toMatchObject([{ code: "canceled", reason: "stalled_reader", outputTokens: 1 }]);
    stalled.destroy();

    logged.length = 0;
    const leaving = await open();
    await untilData(leaving, /200 OK/);
    leaving.pause();
    leaving.destroy();
    while (logged.length === 0) await Bun.sleep(1);
    expect(logged).toMatchObject([{ code: "canceled", outputTokens: 1 }]);
    expect(logged[0]!.reason).toBeUndefined();

    const whole = await post("Complete", body);
    expect(((await whole.json()) as { usage: object }).usage).toMatchObject({ prompt_tokens: ids.length });
    while (logged.length === 1) await Bun.sleep(1);
    expect(logged[1]).toMatchObject({ code: "ok", outputTokens: 1 });
  }, 30_000);

  test("a client that goes away is logged as that", async () => {
    replica.tokenMs = 2;
    const socket = await openRaw(envelope().length, envelope());
    await untilData(socket, /text_delta/);
    socket.destroy();
    await replica.untilRunning(0);
    while (logged.length === 0) await Bun.sleep(1);
    expect(logged).toMatchObject([{ code: "canceled" }]);
    expect(logged[0]!.reason).toBeUndefined();
  });
});
