import { type Fields, invalidField } from "../fields.ts";

/** Values that ask for what a request without the field gets anyway. */
type Harmless = (value: unknown) => boolean;

const never: Harmless = () => false;
const whenFalse: Harmless = (value) => value === false;
const whenTrue: Harmless = (value) => value === true;
const whenEmpty: Harmless = (value) =>
  value === "" || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
const when =
  (...values: unknown[]): Harmless =>
  (value) =>
    values.includes(value);

/**
 * Parameters of OpenAI's API and of the servers that extend it which would change the answer, and which this server does
 * not have. To ignore one would be a wrong answer in silence; a value that changes nothing is let through.
 *
 * What is not listed is either read by an endpoint, or ignored, since the answer is the same with it:
 * - labels and accounts: user, metadata, store, service_tier, safety_identifier, prompt_cache_key, request_id, rid;
 * - where it runs and how fast: prediction, cache_prompt, id_slot, speculative.*, data_parallel_rank (results here do not
 *   depend on caches or batches), stream_options.include_obfuscation, return_progress, timings_per_token;
 * - what only acts with a parameter that is refused: parallel_tool_calls and parse_tool_calls (tools), length_penalty (beam
 *   search), mirostat_tau and _eta, dry_base and the like, xtc_threshold, dynatemp_exponent, n_keep and n_discard (context
 *   shift), reasoning_format, separate_reasoning and stream_reasoning (no reasoning is taken out of the text);
 * - spaces_between_special_tokens: decoding puts none there.
 */
const UNSUPPORTED: Readonly<Record<string, Harmless>> = {
  // OpenAI.
  response_format: (value) => (value as { type?: unknown }).type === "text",
  modalities: (value) => Array.isArray(value) && value.length === 1 && value[0] === "text",
  audio: never,
  web_search_options: never,
  verbosity: when("medium"),
  suffix: whenEmpty,
  // vLLM.
  use_beam_search: whenFalse,
  structured_outputs: never,
  guided_json: never,
  guided_regex: never,
  guided_choice: never,
  guided_grammar: never,
  guided_decoding_backend: never,
  guided_whitespace_pattern: never,
  structural_tag: never,
  continue_final_message: whenFalse,
  chat_template: never,
  truncate_prompt_tokens: never,
  truncation_side: never,
  prompt_embeds: never,
  allowed_token_ids: never,
  bad_words: whenEmpty,
  logits_processors: whenEmpty,
  mm_processor_kwargs: whenEmpty,
  media_io_kwargs: whenEmpty,
  return_tokens_as_token_ids: whenFalse,
  return_token_strs: whenFalse,
  include_reasoning: whenTrue,
  thinking_token_budget: never,
  repetition_detection: never,
  cache_salt: never,
  kv_transfer_params: whenEmpty,
  vllm_xargs: whenEmpty,
  // SGLang.
  regex: never,
  ebnf: never,
  stop_regex: whenEmpty,
  no_stop_trim: whenFalse,
  max_new_tokens: never,
  min_new_tokens: never,
  input_ids: never,
  lora_path: never,
  session_params: never,
  custom_logit_processor: never,
  custom_params: whenEmpty,
  return_hidden_states: whenFalse,
  return_logprob: whenFalse,
  return_meta_info: whenFalse,
  return_routed_experts: whenFalse,
  return_sampling_mask: whenFalse,
  // llama-server.
  json_schema: never,
  grammar: whenEmpty,
  grammar_lazy: whenFalse,
  grammar_triggers: whenEmpty,
  n_predict: never,
  n_probs: when(0),
  min_keep: when(0),
  n_indent: when(0),
  t_max_predict_ms: when(0, -1),
  samplers: never,
  repeat_penalty: when(1),
  repeat_last_n: never,
  mirostat: when(0),
  typical_p: when(1),
  typ_p: when(1),
  tfs_z: when(1),
  top_n_sigma: (value) => typeof value === "number" && value <= 0,
  dry_multiplier: when(0),
  xtc_probability: when(0),
  dynatemp_range: when(0),
  adaptive_target: (value) => typeof value === "number" && value < 0,
  post_sampling_probs: whenFalse,
  return_tokens: whenFalse,
  response_fields: whenEmpty,
  lora: whenEmpty,
  image_data: whenEmpty,
  multimodal_data: whenEmpty,
  // text-generation-webui, Aphrodite, TabbyAPI.
  negative_prompt: whenEmpty,
  guidance_scale: when(1),
  penalty_alpha: when(0),
  mirostat_mode: when(0),
  num_beams: when(1),
  ban_eos_token: whenFalse,
  banned_tokens: whenEmpty,
  banned_strings: whenEmpty,
  custom_token_bans: whenEmpty,
  grammar_string: whenEmpty,
  regex_pattern: whenEmpty,
  // Anthropic, Cohere; Ollama; NVIDIA NIM; Fireworks; OpenRouter.
  stop_sequences: whenEmpty,
  system: whenEmpty,
  num_predict: never,
  format: whenEmpty,
  options: whenEmpty,
  nvext: whenEmpty,
  context_length_exceeded_behavior: when("error"),
  prompt_truncate_len: never,
  transforms: whenEmpty,
  // An argument of OpenAI's Python client, which spreads it; other clients send it as it is.
  extra_body: whenEmpty,
  // TGI, Mistral and others.
  do_sample: whenTrue,
  return_full_text: whenFalse,
  truncate: never,
  watermark: whenFalse,
  adapter_id: never,
  random_seed: never,
  safe_prompt: whenFalse,
  no_repeat_ngram_size: when(0),
  epsilon_cutoff: when(0),
  eta_cutoff: when(0),
  smoothing_factor: when(0),
  top_a: when(0),
  enable_thinking: never,
  thinking: never,
  thinking_budget: never,
  reasoning: never,
};

/** What each endpoint refuses. Tools are looked at in decode-tools.ts. */
const REFUSED: Readonly<Record<Endpoint, Readonly<Record<string, Harmless>>>> = {
  chat: { ...UNSUPPORTED, echo: whenFalse, add_special_tokens: whenFalse },
  completions: {
    ...UNSUPPORTED,
    tools: whenEmpty,
    functions: whenEmpty,
    documents: whenEmpty,
    reasoning_effort: never,
    // The chat API's.
    top_logprobs: when(0),
  },
  // What changes the tokens; a whole chat request may be sent here, to count them.
  tokenize: {
    continue_final_message: whenFalse,
    chat_template: never,
    truncate_prompt_tokens: never,
    mm_processor_kwargs: whenEmpty,
    return_token_strs: whenFalse,
  },
};

export type Endpoint = "chat" | "completions" | "tokenize";

/** Throws ServeError invalid_argument for a parameter that cannot be honoured. */
export function refuseUnsupported(fields: Fields, endpoint: Endpoint): void {
  const refused = REFUSED[endpoint];
  for (const name of fields.names()) {
    // Own properties only: "constructor" is a name like any other.
    if (!Object.hasOwn(refused, name)) continue;
    const value = fields.raw(name);
    if (value !== undefined && !refused[name]!(value)) throw unsupported(name);
  }
  const bestOf = fields.integer("best_of");
  if (bestOf !== undefined && bestOf !== (fields.integer("n") ?? 1)) throw unsupported("best_of");
}

export function unsupported(param: string) {
  return invalidField(param, `'${param}' is not supported by this server yet.`, "unsupported_parameter");
}
