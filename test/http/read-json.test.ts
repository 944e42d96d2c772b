import { expect, test } from "bun:test";
import http2 from "node:http2";
import { LIMITS } from "../../src/config/limits.ts";
import { maxRequestBytes } from "../../src/http/body-limit.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { readJsonObject } from "../../src/http/read-json.ts";
import { API_KEY, createFixture, MODEL as RPC_MODEL } from "./connect-fixture.ts";
import { RawClient } from "./raw-client.ts";
import { errorOf, MODEL, TestServer } from "./test-server.ts";

const BODY = { model: MODEL, prompt: "Hi" };

test("what is not a JSON object in UTF-8 is 400", async () => {
  await using server = new TestServer();
  for (const body of ["", "{", "[1]", '"text"', "null", "{'a': 1}", '{"a": NaN}', "[".repeat(100_000)]) {
    const error = await errorOf(await server.post("/v1/completions", body), 400);
    expect(error).toMatchObject({ type: "invalid_request_error", param: null, code: "invalid_json" });
  }
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    body: Uint8Array.of(0x22, 0xff, 0x22),
  });
  expect((await errorOf(response, 400)).message).toBe("The request body is not valid UTF-8.");
});

test("the content type does not matter, and a character may be split between packets", async () => {
  await using server = new TestServer();
  const client = await RawClient.connect(server.url);
  const body = Buffer.from(JSON.stringify({ ...BODY, prompt: "é" }));
  const cut = body.indexOf(0xa9);
  client.request("POST", "/v1/completions", { "content-type": "text/plain", "transfer-encoding": "chunked" });
  for (const part of [body.subarray(0, cut), body.subarray(cut)]) {
    client.write(`${part.length.toString(16)}\r\n`);
    client.write(part);
    client.write("\r\n");
  }
  client.write("0\r\n\r\n");
  await client.until("text_completion");
  expect(server.replica.requests[0]!.promptText).toBe("é");
  client.destroy();
});

test("a compressed body is 415", async () => {
  await using server = new TestServer();
  const gzip = await server.post("/v1/completions", BODY, { "content-encoding": "gzip" });
  expect((await errorOf(gzip, 415)).code).toBe("unsupported_content_encoding");
  expect((await server.post("/v1/completions", BODY, { "content-encoding": "identity" })).status).toBe(200);
});

test("a body that says it is too large is 413 before it is sent", async () => {
  await using server = new TestServer({ limits: { maxBodyBytes: 1000 } });
  const client = await RawClient.connect(server.url);
  client.request("POST", "/v1/completions", { "content-length": 1001 });
  await client.until("413 Payload Too Large");
  await client.until('"code":"payload_too_large"');
  client.destroy();
  expect((await errorOf(await server.complete({ prompt: "x".repeat(1000) }), 413)).code).toBe("payload_too_large");
  expect((await server.complete({ prompt: "x".repeat(100) })).status).toBe(200);
});

test("a body that never says how large it is is cut off at the limit", async () => {
  await using server = new TestServer({ limits: { maxBodyBytes: 1000 } });
  const client = await RawClient.connect(server.url);
  client.request("POST", "/v1/completions", { "transfer-encoding": "chunked" });
  for (let i = 0; i < 3; i++) client.write(`200\r\n${"x".repeat(512)}\r\n`);
  await client.until("413 Payload Too Large");
  await client.untilClosed();
});

test("a body that says how large it is is not read as a stream", async () => {
  const post = (path: string, body: object) => {
    const text = JSON.stringify(body);
    const headers = { "content-length": String(text.length), "content-type": "application/json" };
    const request = new Request(`http://test${path}`, {
      method: "POST",
      body: text,
      headers: { ...headers, authorization: `Bearer ${API_KEY}` },
    });
    Object.defineProperty(request, "body", {
      get: () => {
        throw new Error("read as a stream");
      },
    });
    return request;
  };
  const { deps } = createFixture();
  expect(await readJsonObject({ request: post("/v1/completions", BODY), bodyPending: true }, deps)).toEqual(BODY);
  const call = post("/scalellm.v1.InferenceService/Tokenize", { model: RPC_MODEL, text: "Hi" });
  expect(await (await createConnectHandler(deps)(call)!).json()).toMatchObject({ count: 3 });
});

test("a length that may be a lie, beside a transfer-encoding, is refused", async () => {
  await using server = new TestServer();
  const client = await RawClient.connect(server.url);
  client.request("POST", "/v1/completions", { "content-length": 10, "transfer-encoding": "chunked" });
  client.write(`200\r\n${"x".repeat(512)}\r\n`);
  await client.until("HTTP/1.1 400");
  await client.untilClosed();
  expect(server.replica.requests).toEqual([]);
});

test("a stream of HTTP/2 whose body is longer than it says is reset", async () => {
  await using server = new TestServer();
  const session = http2.connect(server.url);
  const stream = session.request({ ":method": "POST", ":path": "/v1/completions", "content-length": "10" });
  const failed = new Promise<Error>((resolve) => stream.once("error", resolve));
  stream.end(Buffer.alloc(100_000, "x"));
  expect((await failed).message).toContain("NGHTTP2_PROTOCOL_ERROR");
  session.destroy();
  expect(server.replica.requests).toEqual([]);
});

test("a body that does not arrive in time is 408, and its connection is closed", async () => {
  await using server = new TestServer({ limits: { bodyDeadlineMs: 50 } });
  const client = await RawClient.connect(server.url);
  client.request("POST", "/v1/completions", { "content-length": 100 }, '{"model"');
  await client.until("408 Request Timeout");
  await client.until('"code":"body_timeout"');
  await client.untilClosed();
  expect(server.replica.requests).toEqual([]);
});

test("a client that goes away in the middle of its body leaves nothing behind", async () => {
  await using server = new TestServer();
  const client = await RawClient.connect(server.url);
  client.request("POST", "/v1/completions", { "content-length": 100 }, '{"model"');
  while (server.lifecycle.inFlight === 0) await Bun.sleep(1);
  client.destroy();
  await server.lifecycle.idle();
  expect(server.log.at(-1)).toMatchObject({ status: 499, route: "/v1/completions" });
});

test("the bound on a body follows the longest context served, within bounds of its own", async () => {
  const bound = (...contexts: number[]) =>
    maxRequestBytes(
      contexts.map((maxModelLen) => ({ maxModelLen })),
      LIMITS,
    );
  expect(bound()).toBe(2 ** 20);
  expect(bound(512)).toBe(2 ** 20);
  expect(bound(512, 16_384)).toBe(2 ** 21);
  expect(bound(1_000_000)).toBe(2 ** 22);
  await using server = new TestServer({ maxModelLen: 100, limits: { minMaxBodyBytes: 1000, bodyBytesPerToken: 20 } });
  for (const [chars, status] of [
    [1900, 400],
    [2100, 413],
  ] as const) {
    expect((await server.post("/v1/completions", { ...BODY, prompt: "a".repeat(chars) })).status).toBe(status);
  }
});
