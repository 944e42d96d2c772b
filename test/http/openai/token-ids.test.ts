import { expect, test } from "bun:test";
import { BOS } from "../fake-text-service.ts";
import { events, FINGERPRINT, TestServer } from "../test-server.ts";

const PIECES = { pieces: ["é", "", "bc"] };
const OUTPUT = [0xc3, 0xa9, 0xe2, 0x62, 0x63];
const USAGE = { stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } };

test("return_token_ids: the ids of prompt and output, whole and streamed", async () => {
  await using server = new TestServer();
  server.replica.script = () => PIECES;
  // biome-ignore lint/suspicious/noExplicitAny: looked into below.
  const json = async (response: Promise<Response>) => (await (await response).json()) as any;
  const chat = await json(server.chat({ return_token_ids: true, n: 2 }));
  expect(chat.prompt_token_ids).toEqual(Array.from(server.replica.requests[0]!.promptTokenIds));
  expect(chat.choices.map((choice: { token_ids: number[] }) => choice.token_ids)).toEqual([OUTPUT, OUTPUT]);
  const completion = await json(server.complete({ prompt: ["a", "b"], return_token_ids: true, echo: true }));
  expect(completion.choices[1]).toMatchObject({ text: "bébc", prompt_token_ids: [BOS, 98], token_ids: OUTPUT });
  const without = await json(server.chat());
  expect(without).not.toHaveProperty("prompt_token_ids");
  expect(without.choices[0]).not.toHaveProperty("token_ids");

  const chunks = (await events(await server.chat({ return_token_ids: true, stream: true, n: 2 }))).slice(0, -1);
  expect(chunks.filter((chunk) => chunk.prompt_token_ids).map((chunk) => chunk.prompt_token_ids)).toEqual([
    chat.prompt_token_ids,
  ]);
  for (const index of [0, 1]) {
    const own = chunks.map((chunk) => chunk.choices[0]).filter((choice) => choice.index === index);
    expect(own.flatMap((choice) => choice.token_ids ?? [])).toEqual(OUTPUT);
    expect(own.map((choice) => choice.delta.content ?? "").join("")).toBe("ébc");
  }
  const parts = (await events(await server.complete({ return_token_ids: true, stream: true }))).slice(0, -1);
  expect(parts[0].choices[0]).toMatchObject({ text: "", prompt_token_ids: [BOS, 72, 105] });
  expect(parts.flatMap((chunk) => chunk.choices[0].token_ids ?? [])).toEqual(OUTPUT);
  expect(parts.map((chunk) => chunk.choices[0].text).join("")).toBe("ébc");
});

test("continuous_usage_stats: every chunk tells the usage of its choice so far, the last one all", async () => {
  await using server = new TestServer();
  server.replica.script = () => PIECES;
  for (const [response, promptTokens] of [
    [await server.chat({ ...USAGE, n: 2 }), 19],
    [await server.complete({ ...USAGE, n: 2 }), 3],
  ] as const) {
    const chunks = (await events(response)).slice(0, -1);
    const last = chunks.pop();
    expect(last).toMatchObject({ choices: [], usage: { prompt_tokens: promptTokens, completion_tokens: 10 } });
    const counts: number[][] = [[], []];
    for (const { choices, usage } of chunks) {
      expect(usage.prompt_tokens).toBe(promptTokens);
      expect(usage.total_tokens).toBe(promptTokens + usage.completion_tokens);
      counts[choices[0].index]!.push(usage.completion_tokens);
    }
    for (const own of counts) {
      expect(own.at(-1)).toBe(5);
      expect(own).toEqual([...own].sort((a, b) => a - b));
      expect(own).toContain(2);
    }
  }
  const [echo] = await events(await server.complete({ ...USAGE, echo: true }));
  expect(echo).toMatchObject({ choices: [{ text: "Hi" }], usage: { prompt_tokens: 3, completion_tokens: 0 } });
  // Without include_usage it means nothing, as in vLLM.
  const chunks = await events(await server.chat({ stream: true, stream_options: { continuous_usage_stats: true } }));
  expect(chunks.some((chunk) => chunk.usage !== undefined)).toBe(false);
});

test("every answer and every chunk has the system's fingerprint", async () => {
  await using server = new TestServer();
  for (const fields of [{}, { ...USAGE }]) {
    for (const response of [await server.chat(fields), await server.complete({ ...fields, echo: true })]) {
      const objects = "stream" in fields ? (await events(response)).slice(0, -1) : [await response.json()];
      for (const object of objects) expect(object.system_fingerprint).toBe(FINGERPRINT);
    }
  }
});
