import { expect, test } from "bun:test";
import http2 from "node:http2";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { createFixture } from "./connect-fixture.ts";
import { RawClient } from "./raw-client.ts";
import { MODEL, TestServer, type TestServerOptions } from "./test-server.ts";

// Two Hosts, and values that are none (RFC 9112, section 3.2).
const BAD_HOSTS = [
  "x:999999",
  "[::1",
  "%%",
  "a b",
  "a/b",
  "a?b",
  "a#b",
  "u@b",
  "a,b",
  "\xff\xfe",
  "a:-1",
  "[v6]",
  "a:b",
];
const PATHS = [
  "/v1/models",
  "/v1/models/%zz",
  "//",
  "//evil/v1/models",
  "/%2e%2e/x%00",
  "/a\\b",
  "/?[%",
  "/\xff",
  "/v1/x?%",
];

interface Answer {
  status: number;
  id: string | undefined;
  body: string;
}

/** Sends one head as it is. Every answer must be one of ours: an API error or result with a request id. */
async function ask(server: TestServer, head: string): Promise<Answer> {
  const client = await RawClient.connect(server.url);
  client.write(Buffer.from(`${head}\r\nconnection: close\r\n\r\n`, "latin1"));
  await client.untilClosed();
  const [top = "", body = ""] = client.received.split("\r\n\r\n");
  return {
    status: Number(/^HTTP\/1.1 (\d+)/.exec(top)?.[1]),
    id: /^x-request-id: (.*)$/im.exec(top)?.[1],
    body,
  };
}

/** One access line and one count a request, and nothing in the log that is worth waking someone. */
async function expectAccounted(server: TestServer, requests: number): Promise<void> {
  expect(server.log.filter(({ level }) => level === "error")).toEqual([]);
  expect(server.log.filter(({ message }) => message === "request")).toHaveLength(requests);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const counts = [...metrics.matchAll(/^scalellm:http_requests_total\{.*\} (\d+)$/gm)].map((match) => Number(match[1]));
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(requests);
}

const OPTIONS: TestServerOptions = { limits: { refusalLinesPerSecond: 10_000 }, allowedHosts: ["*"] };

test("a malformed Host is a 400 of ours on every path but the probes, which answer", async () => {
  await using server = new TestServer(OPTIONS);
  for (const host of BAD_HOSTS) {
    for (const path of ["/v1/models", "/no/such/path", "/scalellm.v1.InferenceService/Complete"]) {
      const { status, id, body } = await ask(server, `GET ${path} HTTP/1.1\r\nhost: ${host}`);
      expect({ host, path, status, id }).toEqual({ host, path, status: 400, id: expect.stringMatching(/^req-/) });
      expect(JSON.parse(body).error).toMatchObject({ type: "invalid_request_error", code: "bad_host" });
    }
  }
  await expectAccounted(server, BAD_HOSTS.length * 3);
  for (const host of BAD_HOSTS.filter((name) => !name.includes(","))) {
    const { status, id } = await ask(server, `GET /health HTTP/1.1\r\nhost: ${host}`);
    expect({ host, status, id }).toEqual({ host, status: 200, id: expect.stringMatching(/^req-/) });
  }
});

test("a Host of good form that no URL could have is one like another, with every API", async () => {
  await using server = new TestServer({ ...OPTIONS, connectHandler: createConnectHandler(createFixture().deps) });
  const hosts = ["xn--", "xn--a", "1.2.3.4.5", "999.1.1.1", "0x", "a..b.1e9", "..", "-", "~", "_"];
  const paths = ["/v1/models", "/scalellm.v1.InferenceService/Tokenize?connect=v1&encoding=json&message=%7B%7D"];
  for (const host of hosts) {
    const [models, rpc] = await Promise.all(paths.map((path) => ask(server, `GET ${path} HTTP/1.1\r\nhost: ${host}`)));
    expect({ host, models: models!.status, rpc: rpc!.status }).toEqual({ host, models: 200, rpc: 401 });
    expect(JSON.parse(rpc!.body)).toMatchObject({ code: "unauthenticated" });
  }
  expect(server.log.filter(({ level }) => level === "error")).toEqual([]);
});

test("two Host headers are a 400, the same twice too, whatever the path and the key", async () => {
  for (const keys of [[], ["k"]]) {
    await using server = new TestServer({ ...OPTIONS, keys });
    for (const lines of ["host: a\r\nhost: b", "host: a\r\nhost: a", "Host: test\r\nHOST: 127.0.0.1"]) {
      for (const path of ["/v1/models", "/health"]) {
        const { status, id } = await ask(server, `GET ${path} HTTP/1.1\r\n${lines}\r\nx-api-key: k`);
        expect({ lines, status, id }).toEqual({ lines, status: 400, id: expect.stringMatching(/^req-/) });
      }
    }
  }
});

test("whatever a path holds, the answer is an API error with an id, a count and a line", async () => {
  await using server = new TestServer(OPTIONS);
  const heads = [
    ...PATHS.map((path) => `GET ${path} HTTP/1.1\r\nhost: a`),
    ...PATHS.map((path) => `POST ${path} HTTP/1.1\r\nhost: a:1\r\ncontent-length: 0`),
    "GET http://evil:999999/v2 HTTP/1.1\r\nhost: a",
    "CONNECT a:1 HTTP/1.1\r\nhost: a",
    "TRACE /v1/models HTTP/1.1\r\nhost: a",
    `GET /${"%41".repeat(4000)} HTTP/1.1\r\nhost: a`,
  ];
  for (const head of heads) {
    const { status, id, body } = await ask(server, head);
    const where = head.slice(0, 40);
    expect({ where, id }).toEqual({ where, id: expect.stringMatching(/^req-/) });
    if (head.startsWith("GET /v1/models HTTP")) expect(status).toBe(200);
    else expect({ where, status: [400, 404, 405].includes(status) }).toEqual({ where, status: true });
    if (status !== 200) expect(JSON.parse(body).error.message.length).toBeLessThan(400);
  }
  await expectAccounted(server, heads.length);
});

test("HTTP/1.0 without a Host reaches every route", async () => {
  await using server = new TestServer(OPTIONS);
  expect((await ask(server, "GET /v1/models HTTP/1.0")).status).toBe(200);
  expect((await ask(server, `GET /v1/models/${MODEL}?x=1 HTTP/1.0`)).status).toBe(200);
  expect((await ask(server, "POST /v1/chat/completions HTTP/1.0\r\ncontent-length: 0")).status).toBe(400);
  expect((await ask(server, "GET /v1/chat/completions HTTP/1.0")).status).toBe(405);
});

test("the same through HTTP/2: no authority ends in a text or without an id", async () => {
  await using server = new TestServer(OPTIONS);
  const hosts = BAD_HOSTS.filter((host) => !/[@\xff]/.test(host));
  for (const host of hosts) {
    const session = http2.connect(server.url);
    const stream = session.request({ ":path": "/v1/models", ":authority": host });
    let body = "";
    stream.on("data", (data) => {
      body += data;
    });
    const head = Promise.withResolvers<http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader>();
    stream.once("response", head.resolve);
    const ended = new Promise((resolve) => stream.once("end", resolve));
    const { ":status": status, "x-request-id": id } = await head.promise;
    await ended;
    expect({ host, status, id }).toEqual({ host, status: 400, id: expect.stringMatching(/^req-/) });
    expect(JSON.parse(body).error.code).toBe("bad_host");
    session.destroy();
  }
  await expectAccounted(server, hosts.length);
});
