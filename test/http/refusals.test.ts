import { expect, test } from "bun:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { createGrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { API_KEY, createFixture } from "./connect-fixture.ts";
import { RawClient } from "./raw-client.ts";
import { TestServer } from "./test-server.ts";

/** Long enough that a refusal that waits is told from every slow machine's that does not. */
const HELD = { freeKeyRefusals: 3, keyRefusalStepMs: 600_000, maxKeyRefusalDelayMs: 600_000 };

/** Whether an answer is held: asks until one that was asked later has come. */
async function isHeld(answer: Promise<unknown>, later: () => Promise<unknown>): Promise<boolean> {
  let came = false;
  answer.then(
    () => {
      came = true;
    },
    () => {},
  );
  await later();
  await later();
  return !came;
}

test("after some wrong keys of an address the next refusals wait; a valid key never does", async () => {
  await using server = new TestServer({ keys: ["good"], limits: HELD });
  const ask = (key: string, signal?: AbortSignal) =>
    fetch(`${server.url}/v1/models`, { headers: { "x-api-key": key }, ...(signal === undefined ? {} : { signal }) });
  for (let i = 0; i < 3; i++) expect((await ask(`bad${i}`)).status).toBe(401);
  const leave = new AbortController();
  const held = ask("bad", leave.signal);
  const valid = async () => expect((await ask("good")).status).toBe(200);
  expect(await isHeld(held, valid)).toBe(true);
  leave.abort();
  await held.catch(() => {});
  await valid();
});

test("Connect and gRPC count with it", async () => {
  const { deps } = createFixture(HELD);
  await using http = new TestServer({ connectHandler: createConnectHandler(deps) });
  const grpc = await createGrpcServer(deps, { hostname: "127.0.0.1", port: 0 });
  const clients = [
    createConnectTransport({ baseUrl: http.url, httpVersion: "1.1" }),
    createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpc.port}` }),
  ].map((transport) => createClient(InferenceService, transport));
  const codeOf = async (call: Promise<unknown>) =>
    call.then(
      () => undefined,
      (error) => ConnectError.from(error).code,
    );
  try {
    // 2 of each: the fourth is held.
    for (const client of [...clients, clients[0]!])
      expect(await codeOf(client.listModels({}))).toBe(Code.Unauthenticated);
    for (const client of clients) {
      const leave = new AbortController();
      const held = client.listModels({}, { signal: leave.signal });
      const valid = () => client.listModels({}, { headers: { authorization: `Bearer ${API_KEY}` } });
      expect(await isHeld(held, valid)).toBe(true);
      leave.abort();
      expect(await codeOf(held)).toBe(Code.Canceled);
    }
  } finally {
    await grpc.close(false);
  }
});

test("a refused request's connection does not wait long for its body", async () => {
  await using server = new TestServer({ keys: ["good"], limits: { unreadBodyS: 1, idleConnectionS: 200 } });
  const silent = await RawClient.connect(server.url);
  silent.request("POST", "/v1/completions", { "content-length": 1000 });
  const dripping = await RawClient.connect(server.url);
  dripping.request("POST", "/v1/completions", { "content-length": 1000 });
  const drip = setInterval(() => dripping.write("a"), 100);
  await Promise.all([silent.until("401 Unauthorized"), dripping.until("401 Unauthorized")]);
  await Promise.all([silent.untilClosed(), dripping.untilClosed()]);
  clearInterval(drip);
}, 60_000);

test("whatever the answer, its connection does not wait long for a body that nobody reads", async () => {
  const { deps } = createFixture();
  const limits = { unreadBodyS: 1, idleConnectionS: 200 };
  const connectHandler = createConnectHandler({ ...deps, limits: { ...deps.limits, ...limits } });
  await using server = new TestServer({ connectHandler, limits });
  const service = "/scalellm.v1.InferenceService";
  const cases: Array<[string, string, string, Record<string, string>]> = [
    ["POST", "/no/such", "text/plain", {}],
    ["POST", "/v1/models", "text/plain", {}],
    ["GET", "/v1/models", "text/plain", {}],
    ["GET", "/health", "text/plain", {}],
    ["OPTIONS", "/v1/models", "text/plain", {}],
    ["POST", "/v1/completions", "application/json", { "content-encoding": "br" }],
    ["POST", "/v1/completions", "application/json", { host: "%%" }],
    ["POST", `${service}/Nope`, "application/json", {}],
    // No key; the last two say so behind a status of 200.
    ["POST", `${service}/Tokenize`, "application/json", {}],
    ["POST", `${service}/Tokenize`, "application/grpc-web+proto", {}],
    ["POST", `${service}/Generate`, "application/connect+json", {}],
    ["POST", `${service}/Tokenize`, "application/grpc", {}],
    ["POST", `${service}/Tokenize`, "text/plain", {}],
    ["POST", `${service}/Tokenize`, "application/json", { "content-encoding": "br" }],
    [
      "POST",
      `${service}/Tokenize`,
      "application/json",
      { authorization: `Bearer ${API_KEY}`, "content-length": "9999999" },
    ],
  ];
  const answered = async (
    method: string,
    path: string,
    type: string,
    headers: Record<string, string>,
    framing: object,
  ) => {
    const client = await RawClient.connect(server.url);
    client.request(method, path, { "content-type": type, ...framing, ...headers });
    const drip = setInterval(() => client.write("1\r\na\r\n"), 100);
    await client.untilClosed().finally(() => clearInterval(drip));
    expect([path, type, client.received]).toEqual([path, type, expect.stringMatching(/^HTTP\/1.1 \d\d\d /)]);
  };
  await Promise.all(
    cases.flatMap(([method, path, type, headers]) =>
      [{ "content-length": "9999" }, { "transfer-encoding": "chunked" }].map((framing) =>
        answered(method, path, type, headers, "content-length" in headers ? {} : framing),
      ),
    ),
  );
}, 60_000);

test("a body that has been read leaves its connection as long as any, refused or not", async () => {
  const limits = { unreadBodyS: 1, idleConnectionS: 200 };
  const { deps } = createFixture();
  await using server = new TestServer({ connectHandler: createConnectHandler(deps), limits });
  const rpc = { "content-type": "application/json", authorization: `Bearer ${API_KEY}` };
  const cases: Array<[string, Record<string, string>, string]> = [
    ["/v1/completions", {}, "400"],
    ["/no/such", {}, "404"],
    ["/scalellm.v1.InferenceService/Tokenize", rpc, "404"],
  ];
  const clients = await Promise.all(
    cases.flatMap(([path, headers, status]) =>
      [false, true].map(async (chunked) => {
        const client = await RawClient.connect(server.url);
        const framing = chunked ? { "transfer-encoding": "chunked" } : { "content-length": "2" };
        client.request("POST", path, { ...headers, ...framing }, chunked ? "2\r\n{}\r\n0\r\n\r\n" : "{}");
        await client.until(`HTTP/1.1 ${status}`);
        return client;
      }),
    ),
  );
  // One of Bun's steps of four seconds is enough to close what has one second.
  await Bun.sleep(5000);
  for (const client of clients) {
    client.request("GET", "/health");
    await client.until('{"status":"ok"}');
  }
}, 60_000);

test("a flood of refused requests fills no log, and is counted", async () => {
  await using server = new TestServer({ keys: ["good"], limits: { refusalLinesPerSecond: 5, freeKeyRefusals: 1e6 } });
  const refused = () => [
    fetch(`${server.url}/v1/models`),
    fetch(`${server.url}/no/such`, { headers: { "x-api-key": "good" } }),
    server.post("/v1/completions", "{", { "x-api-key": "good" }),
  ];
  const startedMs = performance.now();
  for (let i = 0; i < 20; i++) await Promise.all(refused());
  const seconds = Math.ceil((performance.now() - startedMs) / 1000) + 1;
  const lines = server.log.filter(({ message }) => message === "request");
  expect(lines.length).toBeLessThanOrEqual(5 * seconds);
  const metrics = await (await fetch(`${server.url}/metrics`, { headers: { "x-api-key": "good" } })).text();
  expect(metrics).toContain('scalellm:http_requests_total{route="refused",code="401"} 20');
  expect(metrics).toContain('scalellm:http_requests_total{route="/v1/completions",code="400"} 20');
});
