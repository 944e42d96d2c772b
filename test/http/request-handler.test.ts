import { expect, test } from "bun:test";
import { RawClient } from "./raw-client.ts";
import { errorOf, MODEL, TestServer } from "./test-server.ts";

const ORIGIN = "https://app.example";

test("a key is asked for everywhere but on the probes", async () => {
  await using server = new TestServer({ keys: ["one", "two"] });
  for (const path of ["/v1/models", "/metrics", "/version", "/no/such/path"]) {
    const response = await fetch(server.url + path);
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="scalellm"');
    expect(await errorOf(response, 401)).toMatchObject({ type: "invalid_request_error", code: "missing_api_key" });
  }
  for (const path of ["/health", "/ready"]) expect((await fetch(server.url + path)).status).toBe(200);
  for (const headers of [{ authorization: "Bearer one" }, { authorization: "bearer two" }, { "x-api-key": "two" }]) {
    expect((await fetch(`${server.url}/v1/models`, { headers })).status).toBe(200);
  }
  for (const headers of [{ authorization: "Bearer three" }, { "x-api-key": "" }, { authorization: "Basic one" }]) {
    expect((await fetch(`${server.url}/v1/models`, { headers })).status).toBe(401);
  }
});

test("a key is asked for however a request is addressed", async () => {
  await using server = new TestServer({
    keys: ["one"],
    connectHandler: () => undefined,
    // One address is refused here more often than people mistype.
    limits: { freeKeyRefusals: 10_000 },
  });
  const hosts = [
    "a",
    "ab",
    "a:1",
    "localhost",
    "[::1]",
    "a/b",
    "a/scalellm.v1.",
    "a?",
    "a#",
    "a\\scalellm.v1.",
    "",
    undefined,
  ];
  const prefixes = ["", "/scalellm.v1.x", "/health", "/ready", "/scalellm.v1.x/health", "/", "/x", "/health?"];
  for (const host of hosts) {
    for (const prefix of prefixes) {
      for (const [method, path] of [
        ["GET", "/v1/models"],
        ["GET", `/v1/models/${MODEL}`],
        ["GET", "/metrics"],
      ] as const) {
        const client = await RawClient.connect(server.url);
        const hostLine = host === undefined ? "" : `Host: ${host}\r\n`;
        client.write(
          `${method} ${prefix}${path} HTTP/1.${host === undefined ? 0 : 1}\r\n${hostLine}Connection: close\r\n\r\n`,
        );
        await client.untilClosed();
        const status = /^HTTP\/1.1 (\d+)/.exec(client.received)?.[1] ?? "closed";
        const where = `${method} ${prefix}${path} at ${host}`;
        // "/health?/v1/models" is the probe.
        const allowed = prefix === "/health?" ? ["200", "400", "401"] : ["400", "401", "404"];
        expect({ where, status, allowed: allowed.includes(status) }).toEqual({ where, status, allowed: true });
        expect(client.received).not.toContain("owned_by");
        expect(client.received).not.toContain("# HELP");
      }
    }
  }
  expect(server.log.filter((line) => line.level === "error")).toEqual([]);
});

test("probes answer a request without a Host header, and one whose Host is no host", async () => {
  await using server = new TestServer();
  for (const head of ["GET /health HTTP/1.0\r\n", "GET /health?x HTTP/1.1\r\nHost: a/b\r\n"]) {
    const client = await RawClient.connect(server.url);
    client.write(`${head}\r\n`);
    await client.until('{"status":"ok"}');
    client.destroy();
  }
});

test("the tenant of a request is its key's", async () => {
  await using server = new TestServer({ keys: ["one", "two"] });
  for (const key of ["one", "two", "one"]) {
    await server.openai(key).chat.completions.create({ model: MODEL, messages: [{ role: "user", content: "Hi" }] });
  }
  const [first, second, third] = server.replica.requests.map((request) => request.tenant);
  expect(first).toMatch(/^[0-9a-f]{16}$/);
  expect(second).not.toBe(first!);
  expect(third).toBe(first!);
});

test("a key is refused before the body arrives: the answer comes to a client that has sent none of it", async () => {
  await using server = new TestServer({ keys: ["one"] });
  const client = await RawClient.connect(server.url);
  client.request("POST", "/v1/chat/completions", { "content-length": 1000 });
  await client.until("401 Unauthorized");
  // The connection is still good once the body has come.
  client.write("x".repeat(1000));
  client.request("GET", "/v1/models", { "x-api-key": "one" });
  await client.until(`"id":"${MODEL}"`);
  client.destroy();
});

test("a refused body of unknown or great length costs its connection", async () => {
  await using server = new TestServer({ keys: ["one"] });
  for (const headers of [{ "transfer-encoding": "chunked" }, { "content-length": 2 ** 31 }]) {
    const client = await RawClient.connect(server.url);
    client.request("POST", "/v1/chat/completions", headers);
    await client.until("401 Unauthorized");
    await client.untilClosed();
  }
});

test("without origins no page gets a CORS header, and a preflight is refused", async () => {
  await using server = new TestServer();
  const headers = { origin: ORIGIN, "access-control-request-method": "POST" };
  const preflight = await fetch(`${server.url}/v1/chat/completions`, { method: "OPTIONS", headers });
  expect(preflight.status).toBe(403);
  for (const response of [preflight, await fetch(`${server.url}/health`, { headers })]) {
    expect([...response.headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
  }
});

test("a page of a given origin may call, a preflight needs no key, and another origin gets nothing", async () => {
  await using server = new TestServer({ keys: ["one"], corsOrigins: [ORIGIN] });
  const preflight = (origin: string) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, x-stainless-os",
      },
    });
  const allowed = await preflight(ORIGIN);
  expect(allowed.status).toBe(204);
  expect(allowed.headers.get("access-control-allow-origin")).toBe(ORIGIN);
  expect(allowed.headers.get("access-control-allow-headers")).toBe("authorization, content-type, x-stainless-os");
  expect(allowed.headers.has("access-control-allow-credentials")).toBe(false);
  expect(allowed.headers.get("vary")).toBe("Origin");

  const other = await preflight(`${ORIGIN}.evil.example`);
  expect(other.status).toBe(401);
  expect(other.headers.has("access-control-allow-origin")).toBe(false);

  const stream = await server.post(
    "/v1/chat/completions",
    { model: MODEL, messages: [{ role: "user", content: "Hi" }], stream: true },
    { origin: ORIGIN, authorization: "Bearer one" },
  );
  expect(stream.headers.get("access-control-allow-origin")).toBe(ORIGIN);
  expect(stream.headers.get("vary")).toBe("Origin");
  expect(stream.headers.get("access-control-expose-headers")).toBe("x-request-id, retry-after, x-should-retry");
  await stream.text();
  // The page must be able to read the refusal too.
  const refused = await server.post("/v1/completions", {}, { origin: ORIGIN });
  expect(refused.status).toBe(401);
  expect(refused.headers.get("access-control-allow-origin")).toBe(ORIGIN);
});

test("any origin, where that was asked for", async () => {
  await using server = new TestServer({ corsOrigins: ["*"] });
  const response = await fetch(`${server.url}/health`, { headers: { origin: ORIGIN } });
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
});
