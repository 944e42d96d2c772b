import { expect, test } from "bun:test";
import { RawClient } from "./raw-client.ts";
import { errorOf, events, MODEL, TestServer } from "./test-server.ts";

function gated(server: TestServer): { open: () => void } {
  const gate = Promise.withResolvers<void>();
  server.replica.script = () => ({
    pieces: ["first", "second"],
    before: (step) => (step === 1 ? gate.promise : undefined),
  });
  return { open: gate.resolve };
}

test("a graceful stop lets a stream finish and refuses new requests", async () => {
  await using server = new TestServer();
  const gate = gated(server);
  const stream = await server.chat({ stream: true });
  const idle = await RawClient.connect(server.url);
  const stopped = server.server.stop({ graceful: true });
  const refused = await server.chat();
  expect(refused.headers.get("connection")).toBe("close");
  expect(refused.headers.get("retry-after")).toBe("1");
  expect((await errorOf(refused, 503)).code).toBe("unavailable");
  expect((await fetch(`${server.url}/ready`)).status).toBe(503);
  for (const path of ["/health", "/metrics"]) expect((await fetch(server.url + path)).status).toBe(200);
  gate.open();
  const chunks = await events(stream);
  expect(chunks.slice(1, 3).map((chunk) => chunk.choices[0].delta.content)).toEqual(["first", "second"]);
  expect(chunks.at(-1)).toBe("[DONE]");
  await stopped;
  await expect(fetch(`${server.url}/health`)).rejects.toThrow();
  idle.destroy();
});

test("a stop without grace ends a stream with an error event, also while a graceful one waits", async () => {
  await using server = new TestServer();
  gated(server);
  const stream = await server.chat({ stream: true });
  const graceful = server.server.stop({ graceful: true });
  const chunks = events(stream);
  await server.server.stop({ graceful: false });
  await graceful;
  expect((await chunks).at(-1)).toEqual({
    error: { message: "The server is shutting down.", type: "unavailable_error", param: null, code: "shutting_down" },
  });
  await server.replica.until(() => server.replica.aborted === 1 && server.replica.running === 0);
});

test("a stop without grace answers a waiting request with 503", async () => {
  await using server = new TestServer();
  gated(server);
  const answer = server.chat();
  await server.replica.until(() => server.replica.running === 1);
  await server.server.stop({ graceful: false });
  expect((await errorOf(await answer, 503)).code).toBe("shutting_down");
});

test("a stop without grace does not wait for a client that stopped reading", async () => {
  await using server = new TestServer();
  const client = await RawClient.connect(server.url);
  server.replica.script = () => ({ pieces: Array(256).fill("x".repeat(65_536)) });
  client.pause();
  client.post("/v1/chat/completions", { model: MODEL, messages: [{ role: "user", content: "Hi" }], stream: true });
  await server.replica.until(() => server.replica.running === 1);
  await server.server.stop({ graceful: false });
  await server.replica.until(() => server.replica.running === 0);
  client.resume();
  await client.untilClosed();
});
