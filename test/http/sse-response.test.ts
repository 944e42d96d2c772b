import { expect, test } from "bun:test";
import { ServeError } from "../../src/core/errors.ts";
import { RawClient } from "./raw-client.ts";
import { errorOf, events, MODEL, TestServer } from "./test-server.ts";

const CHAT = { model: MODEL, messages: [{ role: "user", content: "Hi" }] };
const STREAM = { ...CHAT, stream: true };
const forever = () => new Promise<void>(() => {});

/** Resolves when the replica runs nothing and has aborted `count` requests. */
function freed(server: TestServer, count: number): Promise<void> {
  return server.replica.until(() => server.replica.aborted === count && server.replica.running === 0);
}

test("headers name an event stream that nobody buffers", async () => {
  await using server = new TestServer();
  const response = await server.chat({ stream: true });
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  expect(response.headers.get("cache-control")).toBe("no-cache");
  expect(response.headers.get("x-accel-buffering")).toBe("no");
  expect(response.headers.get("x-request-id")).toMatch(/^req-/);
  await response.text();
});

test("the choices of one step leave in one write", async () => {
  await using server = new TestServer();
  const client = await RawClient.connect(server.url);
  server.replica.script = () => ({ pieces: ["a", "b"] });
  client.post("/v1/chat/completions", { ...STREAM, n: 3 });
  await client.until("[DONE]");
  // Chunked transfer coding shows the writes: each is a length line, data and a line end.
  const writes = client.received.split("\r\n").filter((line) => line.startsWith("data: "));
  const choices = writes.map((write) => write.match(/"content":"[ab]"/g)?.length ?? 0).filter((count) => count > 0);
  expect(choices).toEqual([3, 3]);
  client.destroy();
});

test("an error before the first output is an HTTP status", async () => {
  await using server = new TestServer();
  const errors = [
    [new ServeError("overloaded", "The queue is full.", { retryAfterS: 2.2 }), 429, "overloaded"],
    [new ServeError("rate_limited", "Too many tokens."), 429, "rate_limit_exceeded"],
    [new ServeError("unavailable", "Dead."), 503, "unavailable"],
    [new ServeError("deadline_exceeded", "Too late."), 504, "deadline_exceeded"],
    [new ServeError("invalid_argument", "Never fits.", { param: "messages" }), 400, null],
    [new Error("secret"), 500, "internal_error"],
  ] as const;
  for (const [error, status, code] of errors) {
    for (const stream of [true, false]) {
      server.replica.script = () => ({ pieces: [], failAt: { step: -1, error } });
      const response = await server.chat({ stream });
      if (status === 429 || status === 503) {
        expect(response.headers.get("retry-after")).toBe(code === "overloaded" ? "3" : "1");
      }
      expect((await errorOf(response, status)).code).toBe(code);
    }
  }
});

test("an error after the first output is an event, and ends the stream without [DONE]", async () => {
  await using server = new TestServer();
  const error = new ServeError("unavailable", "The engine died.", { reason: "engine_dead" });
  server.replica.script = () => ({ pieces: ["a", "b"], failAt: { step: 1, error } });
  const chunks = await events(await server.chat({ stream: true }));
  expect(chunks.length).toBe(3);
  expect(chunks[1].choices[0].delta.content).toBe("a");
  expect(chunks[2]).toEqual({
    error: { message: "The engine died.", type: "unavailable_error", param: null, code: "engine_dead" },
  });
  expect(server.log.at(-1)).toMatchObject({ status: 503, error: "The engine died." });

  server.replica.script = () => ({ pieces: ["a", "b"], failAt: { step: 1, error: new TypeError("secret") } });
  const text = await (await server.chat({ stream: true })).text();
  expect(text).toContain("The server met an internal error.");
  expect(text).not.toContain("secret");
});

test("a silent stream is kept alive by comments, from before its first token", async () => {
  await using server = new TestServer({ limits: { keepAliveMs: 20 } });
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  server.replica.script = () => ({ pieces: ["a", "b"], before: (step) => gates[step]!.promise });
  const client = await RawClient.connect(server.url);
  client.post("/v1/chat/completions", STREAM);
  await client.until(": keep-alive\n\n\r\n");
  expect(client.received).not.toContain("data: ");
  gates[0]!.resolve();
  await client.until('"content":"a"');
  const before = client.received.length;
  while (!client.received.slice(before).includes(": keep-alive\n\n")) await Bun.sleep(5);
  gates[1]!.resolve();
  await client.until("[DONE]");
  client.destroy();
});

test("the openai client reads past the comments", async () => {
  await using server = new TestServer({ limits: { keepAliveMs: 10 } });
  server.replica.script = () => ({ pieces: ["a", "b"], before: () => Bun.sleep(50) });
  let text = "";
  const stream = await server.openai().chat.completions.create({ ...STREAM, stream: true } as never);
  // biome-ignore lint/suspicious/noExplicitAny: the overload is chosen by a literal `stream`.
  for await (const chunk of stream as any) text += chunk.choices[0].delta.content ?? "";
  expect(text).toBe("ab");
});

test("a client that goes away frees its slot: in a stream, before one begins, and without one", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["a", "b"], before: (step) => (step === 1 ? forever() : undefined) });
  const streaming = await RawClient.connect(server.url);
  streaming.post("/v1/chat/completions", STREAM);
  await streaming.until('"content":"a"');
  streaming.destroy();
  await freed(server, 1);

  server.replica.script = () => ({ pieces: ["a"], before: forever });
  for (const [count, body] of [
    [2, STREAM],
    [3, CHAT],
  ] as const) {
    const waiting = await RawClient.connect(server.url);
    waiting.post("/v1/chat/completions", body);
    await server.replica.until(() => server.replica.running === 1);
    waiting.destroy();
    await freed(server, count);
  }
  await server.lifecycle.idle();
  expect(server.log.map((line) => line.status)).toEqual([499, 499, 499]);
});

test("a client that goes away ends every prompt of its request", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["a"], before: forever });
  const client = await RawClient.connect(server.url);
  client.post("/v1/completions", { model: MODEL, prompt: ["a", "b", "c"] });
  await server.replica.until(() => server.replica.running === 3);
  client.destroy();
  await freed(server, 3);
});

/** Each step is larger than any socket buffer would hide. */
const STEPS = 400;
const BIG = "x".repeat(64 * 1024);

test("a slow reader holds the generation back, and loses nothing", async () => {
  await using server = new TestServer();
  let steps = 0;
  server.replica.script = () => ({
    pieces: Array(STEPS).fill(BIG),
    before: (step) => {
      steps = step + 1;
      return undefined;
    },
  });
  const client = await RawClient.connect(server.url);
  client.pause();
  client.post("/v1/chat/completions", STREAM);
  // It comes to a halt: no step in a while, though nothing but the reader holds it.
  for (let last = -1; last !== steps || steps === 0; ) {
    last = steps;
    await Bun.sleep(200);
  }
  expect(steps).toBeLessThan(STEPS);
  client.resume();
  await client.until("[DONE]");
  expect(client.received.split(BIG).length - 1).toBe(STEPS);
  client.destroy();
}, 30_000);

test("a reader that takes nothing is dropped, and frees its slot", async () => {
  await using server = new TestServer({ limits: { stalledReaderMs: 100 } });
  server.replica.script = () => ({ pieces: Array(STEPS).fill(BIG) });
  const client = await RawClient.connect(server.url);
  client.pause();
  client.post("/v1/chat/completions", STREAM);
  await freed(server, 1);
  client.resume();
  await client.untilClosed();
  expect(client.received).not.toContain("[DONE]");
  await server.lifecycle.idle();
  expect(server.log.at(-1)).toMatchObject({
    status: 499,
    error: "The client stopped reading.",
    reason: "stalled_reader",
  });
}, 30_000);

test("a dropped keep-alive connection leaves the server answering others", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["a", "b"], before: (step) => (step === 1 ? forever() : undefined) });
  const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(server.url)));
  for (const client of clients) client.post("/v1/chat/completions", STREAM);
  await Promise.all(clients.map((client) => client.until('"content":"a"')));
  for (const client of clients) client.destroy();
  await freed(server, 20);
  server.replica.script = () => ({ pieces: ["done"] });
  expect((await events(await server.chat({ stream: true }))).at(-1)).toBe("[DONE]");
});
