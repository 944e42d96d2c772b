import { expect, test } from "bun:test";
import http2 from "node:http2";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { createGrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { createFixture, MODEL as SCRIPTED } from "./connect-fixture.ts";
import { errorOf, MODEL, TestServer } from "./test-server.ts";

const EVIL = "https://evil.example";
const chat = JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "Hi" }] });

test("a page of another origin gets 403 for every method and path but the probes, and no CORS header", async () => {
  await using server = new TestServer();
  for (const [method, path] of [
    ["POST", "/v1/chat/completions"],
    ["POST", "/v1/completions"],
    ["POST", "/tokenize"],
    ["GET", "/v1/models"],
    ["GET", "/metrics"],
    ["OPTIONS", "/v1/chat/completions"],
    ["PUT", "/no/such/path"],
  ] as const) {
    const headers = { origin: EVIL, "content-type": "text/plain", "access-control-request-method": "POST" };
    const response = await fetch(server.url + path, { method, headers, ...(method === "POST" ? { body: chat } : {}) });
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
    expect(response.headers.get("x-request-id")).toMatch(/^req-/);
    expect(await errorOf(response, 403)).toMatchObject({ type: "invalid_request_error", code: "origin_not_allowed" });
  }
  expect(server.replica.requests).toEqual([]);
  const own = await server.post("/v1/chat/completions", chat, { origin: server.url });
  expect(own.status).toBe(200);
  expect((await fetch(`${server.url}/health`, { headers: { origin: EVIL } })).status).toBe(200);
});

test("a rebound name gets 403; an allowed one, or a key, an answer", async () => {
  const ask = (server: TestServer, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/v1/models`, { headers: { host: "evil.example", ...headers } });
  await using server = new TestServer();
  const error = await errorOf(await ask(server), 403);
  expect(error.code).toBe("host_not_allowed");
  expect(error.message).toContain("--allowed-host");
  await using allowed = new TestServer({ allowedHosts: ["evil.example"] });
  expect((await ask(allowed)).status).toBe(200);
  await using keyed = new TestServer({ keys: ["k"] });
  expect((await ask(keyed, { "x-api-key": "k", origin: EVIL })).status).toBe(200);
  await using open = new TestServer({ host: "0.0.0.0" });
  expect((await ask(open)).status).toBe(200);
  expect((await ask(open, { origin: EVIL })).status).toBe(403);
});

test("an allowed origin may call and preflight, another may not", async () => {
  await using server = new TestServer({ corsOrigins: ["https://app.example"] });
  for (const [origin, preflighted, posted] of [
    ["https://app.example", 204, 200],
    [EVIL, 403, 403],
  ] as const) {
    const headers = { origin, "access-control-request-method": "POST" };
    const preflight = await fetch(`${server.url}/v1/chat/completions`, { method: "OPTIONS", headers });
    expect(preflight.status).toBe(preflighted);
    expect((await server.post("/v1/chat/completions", chat, { origin })).status).toBe(posted);
  }
});

test("Connect and gRPC-Web refuse with PERMISSION_DENIED", async () => {
  const { deps, replica } = createFixture({}, { keyless: true });
  await using server = new TestServer({ connectHandler: createConnectHandler(deps) });
  const body = JSON.stringify({ model: SCRIPTED, text: "hi" });
  const call = (headers: Record<string, string>) =>
    fetch(`${server.url}/scalellm.v1.InferenceService/Complete`, { method: "POST", body, headers });
  for (const headers of [{ origin: EVIL }, { host: "evil.example" }, { "sec-fetch-site": "cross-site" }]) {
    const response = await call({ "content-type": "application/json", ...headers });
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([403, "permission_denied"]);
    const web = await call({ "content-type": "application/grpc-web+json", ...headers });
    expect((web.headers.get("grpc-status") ?? "") + (await web.text())).toMatch(/^7|grpc-status: 7/);
  }
  const preflight = await fetch(`${server.url}/scalellm.v1.InferenceService/Complete`, {
    method: "OPTIONS",
    headers: { origin: EVIL, "access-control-request-method": "POST" },
  });
  expect(preflight.status).toBe(403);
  expect(replica.requests).toEqual([]);
  expect((await call({ "content-type": "application/json", origin: server.url })).status).toBe(200);
});

test("the gRPC port refuses the same, and its health service nobody", async () => {
  const { deps } = createFixture({}, { keyless: true });
  const server = await createGrpcServer(deps, { hostname: "127.0.0.1", port: 0 });
  const status = async (path: string, headers: Record<string, string>): Promise<unknown> => {
    const session = http2.connect(`http://127.0.0.1:${server.port}`);
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    let found: unknown;
    const note = (head: Record<string, unknown>) => {
      found ??= head["grpc-status"];
    };
    stream.on("response", note).on("trailers", note);
    stream.resume();
    stream.end(Buffer.alloc(5));
    await new Promise((resolve) => stream.once("close", resolve));
    session.destroy();
    return found;
  };
  const list = "/scalellm.v1.InferenceService/ListModels";
  try {
    for (const headers of [{ ":authority": "evil.example" }, { origin: EVIL }, { ":authority": "x:999999" }])
      expect(await status(list, headers)).toBe("7");
    expect(await status(list, {})).toBe("0");
    expect(await status("/grpc.health.v1.Health/Check", { ":authority": "evil.example" })).toBe("0");
  } finally {
    await server.close(false);
  }
});
