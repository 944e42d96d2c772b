import { afterAll, beforeAll, expect, test } from "bun:test";
import { errorOf, TestServer } from "../test-server.ts";

let server: TestServer;
beforeAll(() => {
  server = new TestServer();
});
afterAll(() => server[Symbol.asyncDispose]());

/** Asks for something else than this server would answer, of OpenAI's API and of servers that extend it. */
const REFUSED: Readonly<Record<string, unknown>> = {
  response_format: { type: "json_schema", json_schema: { name: "x", schema: {} } },
  modalities: ["text", "audio"],
  verbosity: "low",
  structured_outputs: { json: {} },
  guided_json: {},
  guided_regex: "a",
  guided_choice: ["a"],
  guided_grammar: "root ::= x",
  guided_decoding_backend: "xgrammar",
  structural_tag: "{}",
  truncate_prompt_tokens: 5,
  prompt_embeds: "AAAA",
  allowed_token_ids: [1],
  bad_words: ["a"],
  logits_processors: ["x"],
  mm_processor_kwargs: { a: 1 },
  use_beam_search: true,
  continue_final_message: true,
  chat_template: "{{ x }}",
  return_tokens_as_token_ids: true,
  include_reasoning: false,
  cache_salt: "s",
  regex: "a+",
  ebnf: "root ::= x",
  json_schema: "{}",
  stop_regex: "a",
  no_stop_trim: true,
  lora_path: "x",
  return_hidden_states: true,
  max_new_tokens: 5,
  grammar: "root ::= x",
  n_predict: 5,
  n_probs: 3,
  samplers: ["top_k"],
  repeat_penalty: 1.1,
  mirostat: 2,
  typical_p: 0.9,
  top_n_sigma: 1,
  dry_multiplier: 0.8,
  xtc_probability: 0.5,
  dynatemp_range: 0.3,
  response_fields: ["content"],
  lora: [{ id: 0, scale: 1 }],
  negative_prompt: "x",
  guidance_scale: 1.5,
  mirostat_mode: 2,
  num_beams: 4,
  ban_eos_token: true,
  banned_strings: ["a"],
  grammar_string: "root ::= x",
  stop_sequences: ["a"],
  system: "Be brief.",
  num_predict: 5,
  format: "json",
  options: { temperature: 0 },
  nvext: { guided_regex: "a" },
  context_length_exceeded_behavior: "truncate",
  transforms: ["middle-out"],
  extra_body: { top_k: 5 },
  do_sample: false,
  random_seed: 4,
  no_repeat_ngram_size: 2,
  enable_thinking: false,
};

test.each(Object.entries(REFUSED))("%s is refused, not ignored", async (name, value) => {
  for (const response of [server.chat({ [name]: value }), server.complete({ [name]: value })]) {
    expect(await errorOf(await response, 400)).toMatchObject({ param: name, code: "unsupported_parameter" });
  }
});

test("values that ask for nothing, and what cannot change the answer, are let through", async () => {
  const harmless = {
    response_format: { type: "text" },
    grammar: "",
    json_schema: null,
    mirostat: 0,
    mirostat_tau: 5,
    typical_p: 1,
    dry_multiplier: 0,
    dry_base: 1.75,
    xtc_probability: 0,
    n_probs: 0,
    repeat_penalty: 1,
    lora: [],
    bad_words: [],
    stop_sequences: [],
    custom_token_bans: "",
    guidance_scale: 1,
    ban_eos_token: false,
    context_length_exceeded_behavior: "error",
    extra_body: {},
    cache_prompt: true,
    id_slot: -1,
    timings_per_token: true,
    spaces_between_special_tokens: false,
    length_penalty: 2,
    verbosity: "medium",
    prediction: { type: "content", content: "x" },
    do_sample: true,
    mm_processor_kwargs: {},
    constructor: 1,
    toString: 2,
  };
  expect((await server.chat(harmless)).status).toBe(200);
  expect((await server.complete(harmless)).status).toBe(200);
});

test("/tokenize refuses what would change the tokens, and takes a whole chat request", async () => {
  const body = { model: "org/fake", messages: [{ role: "user", content: "Hi" }] };
  const tools = [{ type: "function", function: { name: "f" } }];
  for (const [name, value] of Object.entries({
    tools,
    chat_template: "x",
    continue_final_message: true,
    return_token_strs: true,
  })) {
    const response = await server.post("/tokenize", { ...body, [name]: value });
    expect(await errorOf(response, 400)).toMatchObject({ param: name, code: "unsupported_parameter" });
  }
  const whole = { ...body, temperature: 5, response_format: { type: "json_object" }, tools, tool_choice: "none" };
  expect((await server.post("/tokenize", whole)).status).toBe(200);
});
