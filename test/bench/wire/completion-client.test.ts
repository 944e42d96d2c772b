import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CompletionCall, CompletionClient } from "../../../src/bench/wire/completion-client.ts";
import { systemClock } from "../../../src/core/clock.ts";

const cleanups: Array<() => unknown> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

function clientFor(url: string): CompletionClient {
  const client = new CompletionClient(new URL("/v1", url), { "x-test": "1" }, systemClock);
  cleanups.push(() => client.close());
  return client;
}

const call = (fields: Partial<CompletionCall> = {}): CompletionCall => ({
  path: "chat/completions",
  body: { prompt: "hi" },
  timeoutMs: 20_000,
  keepText: true,
  signal: new AbortController().signal,
  ...fields,
});

const EVENTS = 'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
const REPLY = `${HEAD}Content-Length: ${EVENTS.length}\r\n\r\n${EVENTS}`;

/** A server of raw replies: the n-th request of a connection gets what `reply` makes of it; undefined closes. */
function rawServer(reply: (connection: number, request: number, text: string) => string | undefined): string {
  let connections = 0;
  const server = Bun.listen<{ connection: number; requests: number; text: string }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = { connection: connections++, requests: 0, text: "" };
      },
      data(socket, bytes) {
        const { data } = socket;
        data.text += bytes.toString("latin1");
        const headEnd = data.text.indexOf("\r\n\r\n");
        const length = Number(/content-length: (\d+)/.exec(data.text)?.[1]);
        if (headEnd < 0 || data.text.length < headEnd + 4 + length) return;
        const answer = reply(data.connection, data.requests++, data.text);
        data.text = "";
        if (answer === undefined) socket.end();
        else socket.write(answer);
      },
    },
  });
  cleanups.push(() => server.stop(true));
  return `http://127.0.0.1:${server.port}`;
}

test("a request is well formed, and its connection is used again", async () => {
  const seen: string[] = [];
  const url = rawServer((connection, request, text) => {
    seen.push(`${connection}.${request} ${text}`);
    return REPLY;
  });
  const client = clientFor(url);
  for (let i = 0; i < 2; i++) expect(await client.stream(call())).toMatchObject({ error: undefined, text: "a" });
  const host = new URL(url).host;
  expect(seen[0]).toBe(
    `0.0 POST /v1/chat/completions HTTP/1.1\r\nhost: ${host}\r\nuser-agent: scalellm-bench\r\nx-test: 1\r\n` +
      `content-type: application/json\r\naccept: text/event-stream\r\ncontent-length: 15\r\n\r\n{"prompt":"hi"}`,
  );
  expect(seen[1]).toStartWith("0.1 ");
});

test("a server that closes after each reply gets new connections", async () => {
  const connections: number[] = [];
  const url = rawServer((connection) => {
    connections.push(connection);
    return `${HEAD}Connection: close\r\nContent-Length: ${EVENTS.length}\r\n\r\n${EVENTS}`;
  });
  const client = clientFor(url);
  for (let i = 0; i < 3; i++) expect((await client.stream(call())).error).toBeUndefined();
  expect(connections).toEqual([0, 1, 2]);
});

test("a request that meets a connection just closed is sent again, once", async () => {
  // Connections answer once and then hang up on the next request, as a server does that closes idle ones.
  const url = rawServer((connection, request) => (connection === 0 && request === 1 ? undefined : REPLY));
  const client = clientFor(url);
  for (let i = 0; i < 3; i++) expect((await client.stream(call())).error).toBeUndefined();
  const dead = clientFor(rawServer(() => undefined));
  expect((await dead.stream(call())).error).toEqual({ kind: "cut", detail: "connection closed before any reply" });
});

test("a body larger than the socket's buffer arrives whole", async () => {
  let length = 0;
  const url = rawServer((_connection, _request, text) => {
    length = text.length;
    return REPLY;
  });
  const prompt = "x".repeat(8 * 1024 * 1024);
  expect((await clientFor(url).stream(call({ body: { prompt } }))).error).toBeUndefined();
  expect(length).toBeGreaterThan(prompt.length);
});

test("what is no completion is told apart", async () => {
  const kinds: string[] = [];
  for (const reply of [
    "nonsense\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    `${HEAD}Content-Length: 14\r\n\r\ndata: [DONE]\n\n`,
    `${HEAD}\r\n${EVENTS}extra`,
    "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
  ]) {
    const url = rawServer((_, request) => (request === 0 ? reply : undefined));
    const result = clientFor(url).stream(call({ timeoutMs: reply.endsWith("extra") ? 200 : 20_000 }));
    kinds.push((await result).error?.kind ?? "none");
  }
  // A body without length lasts until the connection closes, which this server does not do.
  expect(kinds).toEqual(["protocol", "protocol", "protocol", "timeout", "http-404"]);
});

test("aborting cuts a running request", async () => {
  const abort = new AbortController();
  const url = rawServer(() => {
    setTimeout(() => abort.abort(), 1);
    return `${HEAD}Transfer-Encoding: chunked\r\n\r\n`;
  });
  expect((await clientFor(url).stream(call({ signal: abort.signal }))).error?.kind).toBe("cancelled");
});

const openssl = Bun.which("openssl");
test.skipIf(openssl === null)("a server without a trusted certificate never sees the request", async () => {
  const folder = await mkdtemp(join(tmpdir(), "scalellm-tls-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const made = Bun.spawnSync(
    [openssl!, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"].concat([
      "-keyout",
      key,
      "-out",
      cert,
      "-days",
      "2",
      "-subj",
      "/CN=localhost",
    ]),
  );
  expect(made.exitCode).toBe(0);
  let requests = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    tls: { key: Bun.file(key), cert: Bun.file(cert) },
    fetch() {
      requests++;
      return new Response(EVENTS, { headers: { "content-type": "text/event-stream" } });
    },
  });
  cleanups.push(() => server.stop(true));
  const result = await clientFor(`https://localhost:${server.port}`).stream(call());
  expect(result.error?.kind).toBe("connect");
  expect(requests).toBe(0);
});

test("bytes are timed when they come, not when those before them have been dealt with", async () => {
  const url = rawServer(() => REPLY);
  const client = clientFor(url);
  await client.prepare(2, new AbortController().signal);
  // What the first stream's bytes set off takes long; the second's lie ready meanwhile.
  client.onChunks = () => Bun.sleepSync(100);
  const [a, b] = await Promise.all([client.stream(call()), client.stream(call())]);
  const apartMs = Math.abs(a.state.chunkMs[0]! - b.state.chunkMs[0]!);
  expect(apartMs).toBeLessThan(50);
});
