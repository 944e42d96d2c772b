import { expect, test } from "bun:test";
import { RawClient } from "./raw-client.ts";
import { MODEL, TestServer } from "./test-server.ts";

// One test, because each part waits for the server's own timers, which count in steps of seconds.
test("idle and half-open connections are closed, a silent stream is not", async () => {
  await using server = new TestServer({ limits: { idleConnectionS: 1, keepAliveMs: 600_000 } });
  const gate = Promise.withResolvers<void>();
  server.replica.script = () => ({ pieces: ["a", "b"], before: (step) => (step === 1 ? gate.promise : undefined) });
  const [stream, plain, idle, silent, slow] = await Promise.all(
    Array.from({ length: 5 }, () => RawClient.connect(server.url)),
  );
  stream!.post("/v1/chat/completions", { model: MODEL, messages: [{ role: "user", content: "Hi" }], stream: true });
  plain!.post("/v1/chat/completions", { model: MODEL, messages: [{ role: "user", content: "Hi" }] });
  await stream!.until('"content":"a"');
  // Answered, and then nothing more is asked.
  idle!.request("GET", "/health");
  await idle!.until('"ok"');
  // A request line, and then never the rest; or a byte of it now and then.
  silent!.write("POST /v1/completions HTTP/1.1\r\nhost: test\r\nx-");
  slow!.write("POST /v1/completions HTTP/1.1\r\nhost: test\r\nx-");
  const drip = setInterval(() => slow!.write("a"), 500);
  await Promise.all([idle!.untilClosed(), silent!.untilClosed(), slow!.untilClosed()]);
  clearInterval(drip);
  // Silent for longer than all of those.
  expect([stream!.closed, plain!.closed]).toEqual([false, false]);
  gate.resolve();
  await stream!.until("[DONE]");
  await plain!.until('"content":"ab"');
  // And then they are idle as well.
  await Promise.all([stream!.untilClosed(), plain!.untilClosed()]);
}, 60_000);

// Bun's own limit of 10 s, in steps of its timer, holds until a whole head has come, whatever idleConnectionS says.
test("a connection without a request is closed by Bun; one that had a request stays for idleConnectionS", async () => {
  await using server = new TestServer({ limits: { idleConnectionS: 240 } });
  const [fresh, used] = await Promise.all([RawClient.connect(server.url), RawClient.connect(server.url)]);
  used!.request("GET", "/health");
  await used!.until('"ok"');
  await fresh!.untilClosed();
  expect([fresh!.received, used!.closed]).toEqual(["", false]);
  used!.destroy();
}, 60_000);
