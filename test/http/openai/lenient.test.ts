import { expect, test } from "bun:test";
import { TestServer } from "../test-server.ts";

/** Sampling parameters that reach the replica for a body of both endpoints. */
async function sampled(server: TestServer, fields: object | string) {
  const samplings = [];
  for (const path of ["/v1/chat/completions", "/v1/completions"]) {
    const rest = typeof fields === "string" ? fields : JSON.stringify(fields).slice(1, -1);
    const body = `{"model":"org/fake","prompt":"Hi","messages":[{"role":"user","content":"Hi"}],${rest}}`;
    server.replica.requests.length = 0;
    expect((await server.post(path, body)).status, `${path} ${rest}`).toBe(200);
    samplings.push(server.replica.requests[0]!.sampling);
  }
  return samplings as [(typeof samplings)[0], (typeof samplings)[0]];
}

test("max_tokens -1 is what the context leaves, as in llama.cpp and vLLM", async () => {
  await using server = new TestServer();
  const [chat, completion] = await sampled(server, { max_tokens: -1 });
  expect([chat.maxTokens, completion.maxTokens]).toEqual([256 - 19, 256 - 3]);
  const named = await sampled(server, { max_completion_tokens: -1, max_tokens: 5 });
  expect(named.map(({ maxTokens }) => maxTokens)).toEqual([256 - 19, 256 - 3]);
});

test("empty stop strings are passed over, as in llama.cpp", async () => {
  await using server = new TestServer();
  for (const [stop, expected] of [
    ["", []],
    [[], []],
    [null, []],
    [["", "a", ""], ["a"]],
  ]) {
    for (const sampling of await sampled(server, { stop })) expect(sampling.stop).toEqual(expected as string[]);
  }
});

test("top_p 0 is off in a greedy request, which takes the most likely token anyway", async () => {
  await using server = new TestServer();
  for (const fields of [
    { temperature: 0, top_p: 0 },
    { temperature: 1e-46, top_p: 1e-46 },
  ]) {
    for (const sampling of await sampled(server, fields)) expect(sampling.topP).toBe(1);
  }
});

test("min_tokens is blamed only against the client's own max_tokens", async () => {
  await using server = new TestServer();
  const [chat, completion] = await sampled(server, { min_tokens: 100 });
  expect([chat.minTokens, chat.maxTokens]).toEqual([100, 256 - 19]);
  // The endpoint's default of 16 gives way.
  expect([completion.minTokens, completion.maxTokens]).toEqual([100, 100]);
  for (const sampling of await sampled(server, { min_tokens: 1000, max_tokens: 1000 })) {
    expect(sampling.minTokens).toBe(1000);
    expect(sampling.maxTokens).toBeLessThan(256);
  }
  for (const sampling of await sampled(server, { min_tokens: 1000, max_tokens: -1 })) {
    expect(sampling.maxTokens).toBeLessThan(256);
  }
});

test("a seed has 64 bits, exact to the last digit", async () => {
  await using server = new TestServer();
  for (const [text, seed] of [
    ["7", 7],
    ["-5", -5],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["9007199254740993", 9007199254740993n],
    ["-9223372036854775808", -(2n ** 63n)],
    ["9223372036854775807", 2n ** 63n - 1n],
    ["18446744073709551615", 2n ** 64n - 1n],
  ] as const) {
    for (const sampling of await sampled(server, `"seed": ${text}`)) expect(sampling.seed).toBe(seed);
  }
});
