import { expect, test } from "bun:test";
import { fakeLogprob } from "../fake-replica.ts";
import { BOS, byteTokenizer } from "../fake-text-service.ts";
import { errorOf, events, FINGERPRINT, MODEL, TestServer } from "../test-server.ts";

const lp = (id: number) => fakeLogprob(id, 0).logprob;

test("a whole answer has OpenAI's shape, and 16 tokens by default", async () => {
  await using server = new TestServer();
  const answer = await (await server.complete()).json();
  expect(answer).toEqual({
    id: expect.stringMatching(/^cmpl-[0-9a-f]{32}$/),
    object: "text_completion",
    created: expect.any(Number),
    model: MODEL,
    system_fingerprint: FINGERPRINT,
    choices: [{ index: 0, text: "Hello, world!", logprobs: null, finish_reason: "stop", stop_reason: null }],
    usage: { prompt_tokens: 3, completion_tokens: 13, total_tokens: 16, prompt_tokens_details: { cached_tokens: 0 } },
  });
  const [request] = server.replica.requests;
  expect(request!.sampling.maxTokens).toBe(16);
  expect(Array.from(request!.promptTokenIds)).toEqual([BOS, 72, 105]);
  expect(request!.promptText).toBe("Hi");
});

test("a stream, with usage at its end", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["a", "", "é"], finishReason: "length" });
  const chunks = await events(await server.complete({ stream: true, stream_options: { include_usage: true } }));
  expect(chunks.pop()).toBe("[DONE]");
  const last = chunks.pop();
  expect(last).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } });
  expect(chunks.map((chunk) => [chunk.object, chunk.usage, chunk.choices])).toEqual(
    [
      { index: 0, text: "a", logprobs: null, finish_reason: null },
      { index: 0, text: "é", logprobs: null, finish_reason: null },
      { index: 0, text: "", logprobs: null, finish_reason: "length", stop_reason: null },
    ].map((choice) => ["text_completion", null, [choice]]),
  );
});

test("prompts: a string, strings, token ids and lists of them", async () => {
  await using server = new TestServer();
  const promptsOf = async (prompt: unknown) => {
    server.replica.requests.length = 0;
    expect((await server.complete({ prompt })).status).toBe(200);
    return server.replica.requests.map((request) => Array.from(request.promptTokenIds));
  };
  expect(await promptsOf("A")).toEqual([[BOS, 65]]);
  expect(await promptsOf(["A", "B"])).toEqual([
    [BOS, 65],
    [BOS, 66],
  ]);
  expect(await promptsOf([65, 66])).toEqual([[65, 66]]);
  expect(await promptsOf([[65], [66, 67]])).toEqual([[65], [66, 67]]);
  expect(await promptsOf(["A", [66]])).toEqual([[BOS, 65], [66]]);
  await server.complete({ prompt: "A", add_special_tokens: false });
  expect(Array.from(server.replica.requests.at(-1)!.promptTokenIds)).toEqual([65]);
});

test("several prompts and choices: index = prompt * n + i, whatever ends first; usage is the sum", async () => {
  await using server = new TestServer();
  const late = Promise.withResolvers<void>();
  server.replica.script = (request) => {
    const text = byteTokenizer.decode(request.promptTokenIds, true);
    return { pieces: [text.toLowerCase()], cachedTokens: 1, before: () => (text === "A" ? late.promise : undefined) };
  };
  const body = { prompt: ["A", "B", "C"], n: 2 };
  for (const stream of [false, true]) {
    const response = server.complete({ ...body, stream, stream_options: stream ? { include_usage: true } : null });
    if (!stream) {
      await server.replica.until(() => server.replica.requests.length === 3 && server.replica.running === 1);
      late.resolve();
    }
    const texts: string[] = Array(6).fill("");
    let usage: unknown;
    for (const part of stream ? await events(await response) : [await (await response).json()]) {
      for (const choice of part.choices ?? []) texts[choice.index] += choice.text;
      usage = part.usage ?? usage;
    }
    expect(texts).toEqual(["a", "a", "b", "b", "c", "c"]);
    expect(usage).toEqual({
      prompt_tokens: 6,
      completion_tokens: 6,
      total_tokens: 12,
      prompt_tokens_details: { cached_tokens: 3 },
    });
  }
  // Every prompt is a request of its own below.
  expect(new Set(server.replica.requests.map((request) => request.id)).size).toBe(6);
});

test("one failing prompt ends the others and is the answer", async () => {
  await using server = new TestServer();
  server.replica.script = (request) =>
    request.promptTokenIds[1] === 66
      ? { pieces: ["b"], failAt: { step: 0, error: new Error("secret") } }
      : { pieces: ["a"], before: () => new Promise(() => {}) };
  expect((await errorOf(await server.complete({ prompt: ["A", "B"] }), 500)).code).toBe("internal_error");
  await server.replica.until(() => server.replica.running === 0);
  expect(server.replica.aborted).toBe(1);
});

test("logprobs: parallel lists with offsets in characters, in both forms", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["é", "", "b"].filter((piece) => piece !== "") });
  const expected = {
    tokens: ["bytes:\\xc3", "bytes:\\xa9", "b"],
    token_logprobs: [lp(0xc3), lp(0xa9), lp(0x62)],
    top_logprobs: [
      { "bytes:\\xc3": lp(0xc3), "bytes:\\xc4": lp(0xc3) - 1 },
      { "bytes:\\xa9": lp(0xa9), "bytes:\\xaa": lp(0xa9) - 1 },
      { b: lp(0x62), c: lp(0x62) - 1 },
    ],
    text_offset: [0, 1, 1],
  };
  const answer = await (await server.complete({ logprobs: 2 })).json();
  expect(answer.choices[0]).toMatchObject({ text: "éb", logprobs: expected });
  const merged: Record<string, unknown[]> = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
  for (const chunk of await events(await server.complete({ logprobs: 2, stream: true }))) {
    for (const [name, list] of Object.entries(chunk.choices?.[0].logprobs ?? {})) merged[name]!.push(...(list as []));
  }
  expect(merged).toEqual(expected);
  // 0 alternatives still tells of the token itself.
  const own = await (await server.complete({ logprobs: 0 })).json();
  expect(own.choices[0].logprobs.top_logprobs[2]).toEqual({ b: lp(0x62) });
});

test("echo puts the prompt first: its exact text, or its ids decoded", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["!"] });
  const textsOf = async (fields: object) => {
    const answer = await (await server.complete({ echo: true, ...fields })).json();
    return answer.choices.map((choice: { text: string }) => choice.text);
  };
  expect(await textsOf({ prompt: ["é</s>", [BOS, 65]], n: 2 })).toEqual(["é</s>!", "é</s>!", "A!", "A!"]);
  expect(await textsOf({ prompt: [BOS, 65], skip_special_tokens: false })).toEqual(["<s>A!"]);
  const chunks = await events(await server.complete({ echo: true, stream: true, prompt: "ab" }));
  expect(chunks.slice(0, -1).map((chunk) => chunk.choices[0].text)).toEqual(["ab", "!", ""]);
  expect(server.replica.requests[0]!.sampling.promptLogprobs).toBeUndefined();
});

test("echo with logprobs: the prompt's tokens too, null for the first, in both forms", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["!"] });
  const expected = {
    tokens: ["<s>", "a", "b", "!"],
    token_logprobs: [null, lp(97), lp(98), lp(33)],
    top_logprobs: [null, { a: lp(97) }, { b: lp(98) }, { "!": lp(33) }],
    text_offset: [0, 0, 1, 2],
  };
  const answer = await (await server.complete({ prompt: "ab", echo: true, logprobs: 1 })).json();
  expect(answer.choices[0]).toMatchObject({ text: "ab!", logprobs: expected });
  expect(answer.choices[0]).not.toHaveProperty("prompt_logprobs");
  const chunks = await events(await server.complete({ prompt: "ab", echo: true, logprobs: 1, stream: true }));
  expect(chunks[0].choices[0]).toMatchObject({ text: "ab", logprobs: { tokens: ["<s>", "a", "b"] } });
  expect(chunks[1].choices[0].logprobs).toMatchObject({ tokens: ["!"], text_offset: [2] });
});

test("echo with max_tokens 0 scores the prompt and shows nothing else", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["!"], finishReason: "length" });
  const fields = { prompt: "ab", echo: true, max_tokens: 0, logprobs: 0 };
  const answer = await (await server.complete(fields)).json();
  expect(answer.choices[0]).toMatchObject({
    text: "ab",
    finish_reason: "length",
    logprobs: { tokens: ["<s>", "a", "b"], token_logprobs: [null, lp(97), lp(98)] },
  });
  expect(answer.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 0 });
  expect(server.replica.requests[0]!.sampling.maxTokens).toBe(1);
  const chunks = await events(await server.complete({ ...fields, stream: true }));
  expect(chunks.slice(0, -1).map((chunk) => chunk.choices[0].text)).toEqual(["ab", ""]);
  expect((await errorOf(await server.complete({ max_tokens: 0 }), 400)).param).toBe("max_tokens");
});

test("prompt_logprobs come with each choice", async () => {
  await using server = new TestServer();
  const answer = await (await server.complete({ prompt: ["a", "b"], n: 2, prompt_logprobs: 0 })).json();
  const own = answer.choices.map((choice: { prompt_logprobs: unknown[] }) => choice.prompt_logprobs);
  const a = [null, { "97": { logprob: lp(97), rank: 1, decoded_token: "a" } }];
  const b = [null, { "98": { logprob: lp(98), rank: 1, decoded_token: "b" } }];
  expect(own).toEqual([a, a, b, b]);
  expect(answer.choices[0].logprobs).toBeNull();
});
