import { expect, test } from "bun:test";
import { DEFAULT_SAMPLING } from "../../../src/core/sampling-params.ts";
import { fakeLogprob } from "../fake-replica.ts";
import { errorOf, events, FINGERPRINT, MODEL, TestServer } from "../test-server.ts";

test("a whole answer has OpenAI's shape", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["Hé", "", "llo"], cachedTokens: 16 });
  const response = await server.chat();
  expect(response.headers.get("content-type")).toContain("application/json");
  const answer = await response.json();
  expect(answer).toEqual({
    id: expect.stringMatching(/^chatcmpl-[0-9a-f]{32}$/),
    object: "chat.completion",
    created: expect.any(Number),
    model: MODEL,
    system_fingerprint: FINGERPRINT,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "Héllo", refusal: null },
        logprobs: null,
        finish_reason: "stop",
        stop_reason: null,
      },
    ],
    usage: {
      prompt_tokens: 19,
      completion_tokens: 7,
      total_tokens: 26,
      prompt_tokens_details: { cached_tokens: 16 },
    },
  });
  expect(server.replica.requests[0]!.id).toBe(answer.id);
});

test("a stream: the role first, a chunk for each delta with text, the finish reason last", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["a", "", "👍🏽"], finishReason: "length" });
  const chunks = await events(await server.chat({ stream: true }));
  expect(chunks.pop()).toBe("[DONE]");
  const id = server.replica.requests[0]!.id;
  for (const chunk of chunks) {
    expect(chunk).toMatchObject({ id, object: "chat.completion.chunk", model: MODEL, created: expect.any(Number) });
    expect(chunk).not.toHaveProperty("usage");
  }
  const common = { index: 0, logprobs: null, finish_reason: null };
  expect(chunks.map((chunk) => chunk.choices)).toEqual([
    [{ ...common, delta: { role: "assistant", content: "" } }],
    [{ ...common, delta: { content: "a" } }],
    [{ ...common, delta: { content: "👍🏽" } }],
    [{ ...common, delta: {}, finish_reason: "length", stop_reason: null }],
  ]);
});

test("include_usage: null on every chunk, then a chunk without choices", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["a", "b"], cachedTokens: 8 });
  const chunks = await events(await server.chat({ stream: true, stream_options: { include_usage: true }, n: 2 }));
  expect(chunks.pop()).toBe("[DONE]");
  const last = chunks.pop();
  expect(last.choices).toEqual([]);
  expect(last.usage).toEqual({
    prompt_tokens: 19,
    completion_tokens: 4,
    total_tokens: 23,
    prompt_tokens_details: { cached_tokens: 8 },
  });
  expect(chunks.every((chunk) => chunk.usage === null)).toBe(true);
  expect(await events(await server.chat({ stream: true, stream_options: null }))).toHaveLength(5);
  expect(await events(await server.chat({ stream: true, stream_options: { include_usage: false } }))).toHaveLength(5);
});

test("n: every choice is whole, in both forms", async () => {
  await using server = new TestServer();
  const answer = await (await server.chat({ n: 3 })).json();
  // biome-ignore lint/suspicious/noExplicitAny: the answer is what is tested.
  expect(answer.choices.map((choice: any) => [choice.index, choice.message.content])).toEqual([
    [0, "Hello, world!"],
    [1, "Hello, world!"],
    [2, "Hello, world!"],
  ]);
  expect(answer.usage).toMatchObject({ prompt_tokens: 19, completion_tokens: 39 });
  const texts = ["", "", ""];
  for (const chunk of await events(await server.chat({ n: 3, stream: true }))) {
    for (const choice of chunk.choices ?? []) texts[choice.index] += choice.delta.content ?? "";
  }
  expect(texts).toEqual(["Hello, world!", "Hello, world!", "Hello, world!"]);
});

test("logprobs: each token with its bytes and alternatives, in both forms", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["é", "b"] });
  const token = (id: number, text: string, logprob: number) => ({ token: text, logprob, bytes: [id] });
  const entry = (id: number, text: string, next: string) => {
    const { logprob } = fakeLogprob(id, 0);
    const top = [token(id, text, logprob), token(id + 1, next, logprob - 1)];
    return { ...token(id, text, logprob), top_logprobs: top };
  };
  const expected = [entry(0xc3, "\ufffd", "\ufffd"), entry(0xa9, "\ufffd", "\ufffd"), entry(0x62, "b", "c")];
  const answer = await (await server.chat({ logprobs: true, top_logprobs: 2 })).json();
  expect(answer.choices[0].logprobs).toEqual({ content: expected, refusal: null });
  const chunks = await events(await server.chat({ logprobs: true, top_logprobs: 2, stream: true }));
  const streamed = chunks.flatMap((chunk) => chunk.choices?.[0].logprobs?.content ?? []);
  expect(streamed).toEqual(expected);

  const bare = await (await server.chat({ logprobs: true })).json();
  expect(bare.choices[0].logprobs.content[2]).toEqual({ ...entry(0x62, "b", "c"), top_logprobs: [] });
  expect((await (await server.chat({ logprobs: false })).json()).choices[0].logprobs).toBeNull();
});

test("an impossible token's logprob is a number", async () => {
  await using server = new TestServer();
  const impossible = { tokenId: 65, logprob: Number.NEGATIVE_INFINITY, rank: 258, top: [] };
  const original = server.replica.generate.bind(server.replica);
  server.replica.generate = async function* (request, signal) {
    for await (const event of original(request, signal)) {
      yield event.type === "text-delta" ? { ...event, logprobs: [impossible] } : event;
    }
  };
  const answer = await (await server.chat({ logprobs: true })).json();
  expect(answer.choices[0].logprobs.content[0].logprob).toBe(-9999);
});

test("prompt_logprobs: vLLM's list of maps, null first; 0 gives each token's own", async () => {
  await using server = new TestServer();
  const answer = await (await server.chat({ prompt_logprobs: 1 })).json();
  expect(answer.prompt_logprobs).toHaveLength(19);
  expect(answer.prompt_logprobs[0]).toBeNull();
  expect(answer.prompt_logprobs[1]).toEqual({ "115": { logprob: -0.25, rank: 1, decoded_token: "s" } });
  const own = await (await server.chat({ prompt_logprobs: 0 })).json();
  expect(own.prompt_logprobs[1]).toEqual({ "115": { logprob: -0.25, rank: 1, decoded_token: "s" } });
  const two = await (await server.chat({ prompt_logprobs: 2 })).json();
  expect(two.prompt_logprobs[1]["116"]).toEqual({ logprob: -1.25, rank: 2, decoded_token: "t" });
  expect(await (await server.chat()).json()).not.toHaveProperty("prompt_logprobs");
  expect((await errorOf(await server.chat({ prompt_logprobs: 1, stream: true }), 400)).param).toBe("prompt_logprobs");
});

test("a stop string or token is told", async () => {
  await using server = new TestServer();
  for (const stopReason of ["END", 13]) {
    server.replica.script = () => ({ pieces: ["a"], stopReason });
    expect((await (await server.chat()).json()).choices[0]).toMatchObject({
      finish_reason: "stop",
      stop_reason: stopReason,
    });
    const chunks = await events(await server.chat({ stream: true }));
    expect(chunks.at(-2).choices[0]).toMatchObject({ finish_reason: "stop", stop_reason: stopReason });
  }
});

test("every parameter reaches the replica", async () => {
  await using server = new TestServer();
  await server.chat({
    max_tokens: 7,
    min_tokens: 2,
    temperature: 0.25,
    top_p: 0.5,
    top_k: 9,
    min_p: 0.125,
    seed: -5,
    presence_penalty: -1,
    frequency_penalty: 2,
    repetition_penalty: 1.5,
    logit_bias: { "65": -100, "66": 5.5 },
    stop: ["a", "b"],
    stop_token_ids: [3, 4],
    ignore_eos: true,
    include_stop_str_in_output: true,
    skip_special_tokens: false,
    logprobs: true,
    top_logprobs: 4,
    prompt_logprobs: 2,
    n: 2,
    priority: -3,
  });
  expect(server.replica.requests[0]).toMatchObject({
    n: 2,
    priority: -3,
    model: MODEL,
    promptText: "user: Hi\nassistant:",
  });
  expect(server.replica.requests[0]!.sampling).toEqual({
    maxTokens: 7,
    minTokens: 2,
    temperature: 0.25,
    topP: 0.5,
    topK: 9,
    minP: 0.125,
    seed: -5,
    presencePenalty: -1,
    frequencyPenalty: 2,
    repetitionPenalty: 1.5,
    logitBias: [
      [65, -100],
      [66, 5.5],
    ],
    stop: ["a", "b"],
    stopTokenIds: [3, 4],
    ignoreEos: true,
    includeStopStrInOutput: true,
    skipSpecialTokens: false,
    logprobs: 4,
    promptLogprobs: 2,
  });
});

test("what is absent or null has its default: the checkpoint's, and a seed of its own", async () => {
  await using server = new TestServer();
  const none = {
    temperature: null,
    max_tokens: null,
    stop: null,
    logit_bias: null,
    logprobs: null,
    n: null,
    seed: null,
  };
  await server.chat(none);
  await server.chat({ stop: "x", top_k: -1, max_completion_tokens: 3, max_tokens: 9 });
  const [first, second] = server.replica.requests.map((request) => request.sampling);
  expect(first).toEqual({ ...DEFAULT_SAMPLING, temperature: 0.7, maxTokens: 256 - 19, seed: first!.seed });
  expect(second).toMatchObject({ stop: ["x"], topK: 0, maxTokens: 3 });
  expect(second!.seed).not.toBe(first!.seed);
});

test("messages: text parts are joined, developer is system, an assistant may be silent, names are kept", async () => {
  await using server = new TestServer();
  await server.post("/v1/chat/completions", {
    model: MODEL,
    messages: [
      { role: "developer", content: "Be brief." },
      {
        role: "user",
        name: "Ann",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b", extra: 1 },
        ],
      },
      { role: "assistant", content: null, tool_calls: [] },
      { role: "assistant", content: [{ type: "refusal", refusal: "no" }] },
      { role: "tool", content: "42", tool_call_id: "x" },
    ],
    add_generation_prompt: false,
    chat_template_kwargs: { enable_thinking: false },
  });
  expect(server.text.rendered).toEqual([
    {
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", name: "Ann", content: "a\nb" },
        { role: "assistant", content: "" },
        { role: "assistant", content: "no" },
        { role: "tool", content: "42", tool_call_id: "x" },
      ],
      options: { addGenerationPrompt: false, variables: { enable_thinking: false } },
    },
  ]);
});

test("a model without a chat template says so", async () => {
  await using server = new TestServer();
  server.text.hasChatTemplate = false;
  expect((await errorOf(await server.chat(), 400)).code).toBe("no_chat_template");
});
