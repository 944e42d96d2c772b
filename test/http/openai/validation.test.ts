import { afterAll, beforeAll, expect, test } from "bun:test";
import { errorOf, MODEL, TestServer } from "../test-server.ts";

let server: TestServer;
beforeAll(() => {
  server = new TestServer({ limits: { maxMessages: 3, maxPrompts: 3, maxChoicesPerRequest: 4 } });
});
afterAll(() => server[Symbol.asyncDispose]());

const user = (content: unknown) => ({ role: "user", content });

/** Fields of a chat, and the param that must be named. */
const CHAT: ReadonlyArray<readonly [object, string, string?]> = [
  [{ model: undefined }, "model", "missing_required_parameter"],
  [{ model: 7 }, "model", "invalid_type"],
  [{ messages: undefined }, "messages", "missing_required_parameter"],
  [{ messages: null }, "messages", "missing_required_parameter"],
  [{ messages: "Hi" }, "messages", "invalid_type"],
  [{ messages: [] }, "messages", "invalid_value"],
  [{ messages: [1, 2, 3, 4] }, "messages", "invalid_value"],
  [{ messages: ["Hi"] }, "messages[0]", "invalid_type"],
  [{ messages: [user("Hi"), {}] }, "messages[1].role", "missing_required_parameter"],
  [{ messages: [{ role: "", content: "Hi" }] }, "messages[0].role", "invalid_value"],
  [{ messages: [{ role: 1, content: "Hi" }] }, "messages[0].role", "invalid_type"],
  [{ messages: [user(null)] }, "messages[0].content", "missing_required_parameter"],
  [{ messages: [user(1)] }, "messages[0].content", "invalid_type"],
  [{ messages: [user(["Hi"])] }, "messages[0].content[0]", "invalid_type"],
  [{ messages: [user([{ text: "Hi" }])] }, "messages[0].content[0].type", "missing_required_parameter"],
  [{ messages: [user([{ type: "text" }])] }, "messages[0].content[0].text", "missing_required_parameter"],
  [{ messages: [user([{ type: "text", text: 1 }])] }, "messages[0].content[0].text", "invalid_type"],
  [{ messages: [user([{ type: "image_url" }])] }, "messages[0].content[0].type", "unsupported_parameter"],
  [{ messages: [{ ...user("Hi"), name: 1 }] }, "messages[0].name", "invalid_type"],
  [{ messages: [{ ...user("Hi"), tool_calls: [{}] }] }, "messages[0].tool_calls", "invalid_value"],
  [{ messages: [{ ...user("Hi"), function_call: {} }] }, "messages[0].function_call", "unsupported_parameter"],
  [{ messages: [{ role: "assistant", content: "Hi", prefix: true }] }, "messages[0].prefix", "unsupported_parameter"],
  [{ tools: [{}] }, "tools", "unsupported_parameter"],
  [{ tools: [{}], tool_choice: "auto" }, "tools", "unsupported_parameter"],
  [{ tools: "x", tool_choice: "none" }, "tools", "invalid_type"],
  [{ tools: [5], tool_choice: "none" }, "tools[0]", "invalid_type"],
  [{ tools: [{}], tool_choice: "none" }, "tools[0].type", "missing_required_parameter"],
  [{ tools: [{ type: "function" }], tool_choice: "none" }, "tools[0].function", "missing_required_parameter"],
  [{ tool_choice: "required" }, "tool_choice", "unsupported_parameter"],
  [{ functions: [{ name: "f" }] }, "functions", "unsupported_parameter"],
  [{ echo: true }, "echo", "unsupported_parameter"],
  [{ add_special_tokens: true }, "add_special_tokens", "unsupported_parameter"],
  [{ reasoning_effort: 5 }, "reasoning_effort", "invalid_type"],
  [{ documents: ["x"] }, "documents[0]", "invalid_type"],
  [{ response_format: { type: "json_object" } }, "response_format", "unsupported_parameter"],
  [{ response_format: "text" }, "response_format", "unsupported_parameter"],
  [{ structured_outputs: {} }, "structured_outputs", "unsupported_parameter"],
  [{ logprobs: 1 }, "logprobs", "invalid_type"],
  [{ top_logprobs: 1 }, "top_logprobs", "invalid_value"],
  [{ logprobs: true, top_logprobs: 21 }, "top_logprobs", "invalid_value"],
  [{ logprobs: true, top_logprobs: "1" }, "top_logprobs", "invalid_type"],
  [{ max_completion_tokens: 0 }, "max_completion_tokens", "invalid_value"],
  [{ chat_template_kwargs: [] }, "chat_template_kwargs", "invalid_type"],
];

const COMPLETIONS: ReadonlyArray<readonly [object, string, string?]> = [
  [{ prompt: undefined }, "prompt", "missing_required_parameter"],
  [{ prompt: null }, "prompt", "missing_required_parameter"],
  [{ prompt: 7 }, "prompt", "invalid_type"],
  [{ prompt: {} }, "prompt", "invalid_type"],
  [{ prompt: [] }, "prompt", "invalid_value"],
  [{ prompt: [[]] }, "prompt[0]", "invalid_value"],
  [{ prompt: ["a", 7] }, "prompt[1]", "invalid_type"],
  [{ prompt: [65, "a"] }, "prompt[1]", "invalid_type"],
  [{ prompt: [65, 1.5] }, "prompt[1]", "invalid_type"],
  [{ prompt: [[65], [66, -1]] }, "prompt[1][1]", "invalid_value"],
  [{ prompt: [2 ** 32 + 65] }, "prompt[0]", "invalid_value"],
  [{ prompt: [["a"]] }, "prompt[0][0]", "invalid_type"],
  [{ prompt: [[65], [258]] }, "prompt[1]", "invalid_value"],
  [{ prompt: ["a", "b", "c", "d"] }, "prompt", "invalid_value"],
  [{ prompt: ["a", "b", "c"], n: 2 }, "n", "invalid_value"],
  [{ logprobs: true }, "logprobs", "invalid_type"],
  [{ logprobs: 21 }, "logprobs", "invalid_value"],
  [{ echo: "yes" }, "echo", "invalid_type"],
  [{ suffix: "end" }, "suffix", "unsupported_parameter"],
  [{ top_logprobs: 2 }, "top_logprobs", "unsupported_parameter"],
  [{ best_of: 2 }, "best_of", "unsupported_parameter"],
  [{ add_special_tokens: 1 }, "add_special_tokens", "invalid_type"],
];

/** Of both endpoints. */
const SHARED: ReadonlyArray<readonly [object, string, string?]> = [
  [{ temperature: "1" }, "temperature", "invalid_type"],
  [{ temperature: "NaN" }, "temperature", "invalid_type"],
  [{ temperature: -0.1 }, "temperature", "invalid_value"],
  [{ temperature: 2.1 }, "temperature", "invalid_value"],
  [{ top_p: 0 }, "top_p", "invalid_value"],
  // 0 and more than 2 where they are used, as float32.
  [{ top_p: 1e-46 }, "top_p", "invalid_value"],
  [{ top_p: 0, temperature: 1e-4 }, "top_p", "invalid_value"],
  [{ top_p: -1e-3, temperature: 0 }, "top_p", "invalid_value"],
  [{ temperature: 1e39 }, "temperature", "invalid_value"],
  [{ repetition_penalty: 1e-46 }, "repetition_penalty", "invalid_value"],
  [{ logit_bias: { "65": 100.00001 } }, "logit_bias", "invalid_value"],
  [{ top_p: true }, "top_p", "invalid_type"],
  [{ top_k: 1.5 }, "top_k", "invalid_type"],
  [{ top_k: -2 }, "top_k", "invalid_value"],
  [{ min_p: 1.1 }, "min_p", "invalid_value"],
  [{ seed: 1.5 }, "seed", "invalid_type"],
  [{ seed: 2 ** 64 }, "seed", "invalid_value"],
  [{ seed: "1" }, "seed", "invalid_type"],
  [{ presence_penalty: 3 }, "presence_penalty", "invalid_value"],
  [{ frequency_penalty: [] }, "frequency_penalty", "invalid_type"],
  [{ repetition_penalty: 0 }, "repetition_penalty", "invalid_value"],
  [{ max_tokens: 0 }, "max_tokens", "invalid_value"],
  [{ max_tokens: "5" }, "max_tokens", "invalid_type"],
  [{ max_tokens: -2 }, "max_tokens", "invalid_value"],
  [{ min_tokens: 9, max_tokens: 8 }, "min_tokens", "invalid_value"],
  [{ min_tokens: 900, max_tokens: 800 }, "min_tokens", "invalid_value"],
  [{ min_tokens: 2 ** 31 }, "min_tokens", "invalid_value"],
  [{ n: 0 }, "n", "invalid_value"],
  [{ n: 1000 }, "n", "invalid_value"],
  [{ n: "2" }, "n", "invalid_type"],
  [{ stop: 7 }, "stop", "invalid_type"],
  [{ stop: ["a", 7] }, "stop[1]", "invalid_type"],
  [{ stop: Array(17).fill("a") }, "stop", "invalid_value"],
  [{ stop: "a".repeat(257) }, "stop", "invalid_value"],
  [{ stop_token_ids: 7 }, "stop_token_ids", "invalid_type"],
  [{ stop_token_ids: ["7"] }, "stop_token_ids[0]", "invalid_type"],
  [{ stop_token_ids: [258] }, "stop_token_ids", "invalid_value"],
  [{ ignore_eos: 1 }, "ignore_eos", "invalid_type"],
  [{ logit_bias: [] }, "logit_bias", "invalid_type"],
  [{ logit_bias: { a: 1 } }, "logit_bias", "invalid_type"],
  [{ return_token_ids: 1 }, "return_token_ids", "invalid_type"],
  [{ best_of: 3, n: 2 }, "best_of", "unsupported_parameter"],
  [
    { stream: true, stream_options: { continuous_usage_stats: 1 } },
    "stream_options.continuous_usage_stats",
    "invalid_type",
  ],
  [{ logit_bias: { "65": "1" } }, "logit_bias.65", "invalid_type"],
  [{ logit_bias: { "65": null } }, "logit_bias.65", "invalid_type"],
  [{ logit_bias: { "65": 101 } }, "logit_bias", "invalid_value"],
  [{ logit_bias: { "258": 1 } }, "logit_bias", "invalid_value"],
  [{ prompt_logprobs: -1 }, "prompt_logprobs", "invalid_value"],
  [{ prompt_logprobs: true }, "prompt_logprobs", "invalid_type"],
  [{ priority: 1001 }, "priority", "invalid_value"],
  [{ stream: "true" }, "stream", "invalid_type"],
  [{ stream_options: { include_usage: true } }, "stream_options", "invalid_value"],
  [{ stream: true, stream_options: { include_usage: 1 } }, "stream_options.include_usage", "invalid_type"],
];

for (const [fields, param, code] of [...CHAT, ...SHARED]) {
  test(`chat refuses ${JSON.stringify(fields).slice(0, 80)} at ${param}`, async () => {
    expect(await errorOf(await server.chat(fields), 400)).toMatchObject({ type: "invalid_request_error", param, code });
  });
}
for (const [fields, param, code] of [...COMPLETIONS, ...SHARED]) {
  test(`completions refuse ${JSON.stringify(fields).slice(0, 80)} at ${param}`, async () => {
    const error = await errorOf(await server.complete(fields), 400);
    expect(error).toMatchObject({ type: "invalid_request_error", param, code });
  });
}

test("the message says what was expected and what came", async () => {
  const error = await errorOf(await server.chat({ messages: [user(7)] }), 400);
  expect(error.message).toBe(
    "Invalid type for 'messages[0].content': expected a string or an array of text parts, but got an integer.",
  );
});

test("a number too large for JSON's doubles is no number", async () => {
  const body = `{"model": "${MODEL}", "prompt": "Hi", "temperature": 1e999}`;
  expect((await errorOf(await server.post("/v1/completions", body), 400)).param).toBe("temperature");
});

test("an unknown model is 404", async () => {
  for (const response of [await server.chat({ model: "gpt-4" }), await server.complete({ model: "__proto__" })]) {
    expect(await errorOf(response, 404)).toMatchObject({ param: "model", code: "model_not_found" });
  }
});

test("a prompt that leaves no room is context_length_exceeded, and one that does is clipped", async () => {
  const long = "x".repeat(300);
  const code = "context_length_exceeded";
  expect(await errorOf(await server.chat({ messages: [user(long)] }), 400)).toMatchObject({ param: "messages", code });
  expect(await errorOf(await server.complete({ prompt: ["a", long] }), 400)).toMatchObject({
    param: "prompt[1]",
    code,
  });
  expect((await server.complete({ prompt: "x".repeat(254), max_tokens: 100 })).status).toBe(200);
  expect(server.replica.requests.at(-1)!.sampling.maxTokens).toBe(1);
});

test("unknown fields, and harmless values of unsupported ones, are ignored", async () => {
  const harmless = {
    user: "ann",
    metadata: { a: "b" },
    store: false,
    parallel_tool_calls: true,
    service_tier: "auto",
    made_up: [1, 2],
    tools: [],
    tool_choice: "none",
    response_format: { type: "text" },
    suffix: null,
    best_of: 1,
    modalities: ["text"],
    constructor: 1,
    use_beam_search: false,
  };
  expect((await server.chat(harmless)).status).toBe(200);
  expect((await server.complete(harmless)).status).toBe(200);
});
