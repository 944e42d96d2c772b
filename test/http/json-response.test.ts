import { expect, test } from "bun:test";
import { RawClient } from "./raw-client.ts";
import { MODEL, TestServer } from "./test-server.ts";

const LONG = { maxModelLen: 8192 };
const ids = Array.from({ length: 1500 }, (_, i) => (i * 7) % 256);

test("a long answer is whole JSON, and logged when its last byte has left", async () => {
  await using server = new TestServer(LONG);
  const response = await server.complete({ prompt: ids, prompt_logprobs: 5, echo: true, logprobs: 5, n: 2 });
  expect(response.headers.get("content-length")).toBeNull();
  expect(response.headers.get("content-type")).toContain("application/json");
  // biome-ignore lint/suspicious/noExplicitAny: looked into below.
  const { choices } = (await response.json()) as any;
  expect(choices.length).toBe(2);
  for (const choice of choices) {
    expect(choice.prompt_logprobs.length).toBe(ids.length);
    expect(choice.logprobs.tokens.length).toBe(choice.logprobs.text_offset.length);
    expect(choice.logprobs.top_logprobs.slice(0, 2)).toEqual([null, expect.any(Object)]);
  }
  await server.lifecycle.idle();
  expect(server.log.at(-1)).toMatchObject({ status: 200, promptTokens: ids.length });
});

test("a short answer has a length", async () => {
  await using server = new TestServer();
  expect((await server.complete()).headers.get("content-length")).not.toBeNull();
});

test("a long answer streams the same echo as it gives whole", async () => {
  await using server = new TestServer(LONG);
  const fields = { prompt: ids, echo: true, logprobs: 3, max_tokens: 1 };
  // biome-ignore lint/suspicious/noExplicitAny: looked into below.
  const whole = ((await (await server.complete(fields)).json()) as any).choices[0].logprobs;
  const text = await (await server.complete({ ...fields, stream: true })).text();
  const streamed = text
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .map((event) => JSON.parse(event.slice(6)).choices[0].logprobs)
    .filter((logprobs) => logprobs !== null);
  for (const list of ["tokens", "token_logprobs", "top_logprobs", "text_offset"]) {
    expect(streamed.flatMap((logprobs) => logprobs[list])).toEqual(whole[list]);
  }
});

test("a long event is whole, whatever other prompts send meanwhile; an error ends it as an event", async () => {
  await using server = new TestServer(LONG);
  const fields = { echo: true, logprobs: 20, stream: true };
  // The second says all it has while the first is still being written.
  const text = await (await server.complete({ ...fields, prompt: [ids, [72, 105]] })).text();
  const chunks = text.split("\n\n").filter((event) => event.startsWith("data: {"));
  const parts = [0, 1].map((index) => {
    const own = chunks.map((chunk) => JSON.parse(chunk.slice(6)).choices[0]).filter((choice) => choice.index === index);
    return own.map((choice) => choice.text).join("");
  });
  expect(parts[1]).toBe("HiHello, world!");
  expect(parts[0]!.endsWith("Hello, world!")).toBe(true);
  expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
});

test("a reader that stalls in a long answer is dropped, and logged as what it is; one that goes away, too", async () => {
  await using server = new TestServer({ ...LONG, limits: { stalledReaderMs: 100 } });
  const body = { model: MODEL, prompt: ids, prompt_logprobs: 20, n: 8 };
  const stalled = await RawClient.connect(server.url);
  stalled.pause();
  stalled.post("/v1/completions", body);
  await server.replica.until(() => server.replica.requests.length === 1 && server.replica.running === 0);
  await server.lifecycle.idle();
  expect(server.log.at(-1)).toMatchObject({ status: 499, reason: "stalled_reader" });
  stalled.destroy();

  const leaving = await RawClient.connect(server.url);
  leaving.post("/v1/completions", body);
  await leaving.until("prompt_logprobs");
  leaving.destroy();
  await server.lifecycle.idle();
  expect(server.log.at(-1)).toMatchObject({ status: 499, error: "The client went away." });
}, 30_000);

test("alternatives are listed by rank, the token itself first, also where they look like numbers", async () => {
  await using server = new TestServer();
  const prompt = [...Buffer.from("1970")];
  const text = await (await server.complete({ prompt, echo: true, logprobs: 3, prompt_logprobs: 3 })).text();
  // The token "9" and then those after it; its id is 57.
  expect(text).toContain('{"9":-0.125,":":-1.125,";":-2.125}');
  expect(text).toMatch(/\{"57":\{[^}]*"rank":1[^}]*\},"58":\{[^}]*"rank":2[^}]*\},"59":/);
});
