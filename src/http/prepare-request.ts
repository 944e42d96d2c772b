import { LIMITS } from "../config/limits.ts";
import { ServeError } from "../core/errors.ts";
import type { GenerateRequest } from "../core/generate.ts";
import { DEFAULT_SAMPLING, type SamplingParams } from "../core/sampling-params.ts";
import type { ServedModel } from "../gateway/gateway.ts";
import { promptTooLong } from "./prompt-too-long.ts";

/** What an API decoded from its own format: types are right, ranges are not yet checked. */
export interface RequestDraft {
  id: string;
  tenant: string;
  promptTokenIds: Int32Array;
  promptText: string | undefined;
  n: number | undefined;
  sampling: Partial<SamplingParams>;
  priority: number | undefined;
  deadlineMs: number | undefined;
  /** As in GenerateRequest. */
  maxWaitingBytes?: number;
  /** Output of another server to continue; only the RPC API has it. */
  resume?: { outputTokenIds: Int32Array };
  /** What an API calls a field, for errors, where it is not the name in PARAM. */
  params?: Readonly<Record<string, string>>;
}

/** Parameter names as both APIs spell them, for errors. */
const PARAM: Record<string, string> = {
  maxTokens: "max_tokens",
  minTokens: "min_tokens",
  topP: "top_p",
  topK: "top_k",
  minP: "min_p",
  presencePenalty: "presence_penalty",
  frequencyPenalty: "frequency_penalty",
  repetitionPenalty: "repetition_penalty",
  logprobs: "top_logprobs",
  promptLogprobs: "prompt_logprobs",
};

/** Inclusive ranges; OpenAI's where it has one, else vLLM's. */
const RANGES: ReadonlyArray<readonly [keyof SamplingParams, number, number, "integer" | "number"]> = [
  ["maxTokens", 1, 2 ** 31 - 1, "integer"],
  ["minTokens", 0, 2 ** 31 - 1, "integer"],
  ["temperature", 0, 2, "number"],
  ["topP", Number.MIN_VALUE, 1, "number"],
  ["topK", 0, 2 ** 31 - 1, "integer"],
  ["minP", 0, 1, "number"],
  ["seed", -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "integer"],
  ["presencePenalty", -2, 2, "number"],
  ["frequencyPenalty", -2, 2, "number"],
  ["repetitionPenalty", 0.01, 100, "number"],
  ["logprobs", 0, LIMITS.maxTopLogprobs, "integer"],
  ["promptLogprobs", 0, LIMITS.maxTopLogprobs, "integer"],
];

function invalid(param: string, message: string, reason = "invalid_value"): ServeError {
  return new ServeError("invalid_argument", message, { param, reason });
}

function checkTokenIds(ids: ArrayLike<number>, vocabSize: number, param: string): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw invalid(param, `Token id ${id} at index ${i} is not in the vocabulary (0..${vocabSize - 1}).`);
    }
  }
}

/** Sizes of lists and texts that a client chooses. */
function checkLists(sampling: SamplingParams, vocabSize: number): void {
  if (sampling.stop.length > LIMITS.maxStopStrings) {
    throw invalid("stop", `At most ${LIMITS.maxStopStrings} stop strings are allowed.`);
  }
  for (const stop of sampling.stop) {
    if (stop.length === 0) throw invalid("stop", "A stop string must not be empty.");
    if (stop.length > LIMITS.maxStopStringChars) {
      throw invalid("stop", `A stop string may have at most ${LIMITS.maxStopStringChars} characters.`);
    }
  }
  if (sampling.stopTokenIds.length > LIMITS.maxStopTokenIds) {
    throw invalid("stop_token_ids", `At most ${LIMITS.maxStopTokenIds} stop token ids are allowed.`);
  }
  checkTokenIds(sampling.stopTokenIds, vocabSize, "stop_token_ids");
  if (sampling.logitBias.length > LIMITS.maxLogitBias) {
    throw invalid("logit_bias", `At most ${LIMITS.maxLogitBias} logit biases are allowed.`);
  }
  checkTokenIds(
    sampling.logitBias.map(([id]) => id),
    vocabSize,
    "logit_bias",
  );
  for (const [id, bias] of sampling.logitBias) {
    if (!(bias >= -100 && bias <= 100)) {
      throw invalid("logit_bias", `The bias of token ${id} must be between -100 and 100.`);
    }
  }
}

/** A resumed output is one stream with a known random sequence, and must have something left to generate. */
function checkResume(draft: RequestDraft, sampling: SamplingParams, vocabSize: number): void {
  if (draft.resume === undefined) return;
  if ((draft.n ?? 1) !== 1) throw invalid("n", "Only a single choice can be resumed.");
  if (draft.sampling.seed === undefined) throw invalid("seed", "A resumed output needs the seed it began with.");
  const { outputTokenIds } = draft.resume;
  checkTokenIds(outputTokenIds, vocabSize, "resume.output_token_ids");
  if (outputTokenIds.length >= sampling.maxTokens) {
    throw invalid(
      "resume.output_token_ids",
      `The output already has ${outputTokenIds.length} of at most ${sampling.maxTokens} tokens.`,
    );
  }
}

/**
 * Checks every range, fills in defaults and clips max_tokens to what the context leaves.
 * Throws ServeError invalid_argument that names the parameter; `context_length_exceeded` for a prompt without room.
 */
export function prepareRequest(draft: RequestDraft, model: ServedModel): GenerateRequest {
  const paramOf = (field: string) => draft.params?.[field] ?? PARAM[field] ?? field;
  const room = model.maxModelLen - draft.promptTokenIds.length;
  if (draft.promptTokenIds.length === 0) throw invalid(paramOf("prompt"), "The prompt must have at least one token.");
  if (room < 1) {
    throw promptTooLong(paramOf("prompt"), draft.promptTokenIds.length, model.maxModelLen);
  }
  checkTokenIds(draft.promptTokenIds, model.vocabSize, paramOf("prompt"));

  const named = Object.fromEntries(Object.entries(draft.sampling).filter(([, value]) => value !== undefined));
  const sampling: SamplingParams = {
    ...DEFAULT_SAMPLING,
    maxTokens: room,
    // Without a seed every request is its own random stream; Web Crypto so that streams cannot be guessed.
    seed: crypto.getRandomValues(new Uint32Array(1))[0]!,
    ...model.generationDefaults,
    ...named,
  };
  for (const [field, low, high, kind] of RANGES) {
    const value = sampling[field] as number | undefined;
    if (value === undefined) continue;
    const param = paramOf(field);
    if (kind === "integer" && !Number.isInteger(value)) throw invalid(param, `'${param}' must be an integer.`);
    if (!(value >= low && value <= high)) {
      throw invalid(
        param,
        `'${param}' must be between ${low === Number.MIN_VALUE ? "0 (exclusive)" : low} and ${high}.`,
      );
    }
  }
  checkLists(sampling, model.vocabSize);
  sampling.maxTokens = Math.min(sampling.maxTokens, room);
  if (sampling.minTokens > sampling.maxTokens) {
    throw invalid("min_tokens", "'min_tokens' must not be greater than 'max_tokens'.");
  }
  const n = draft.n ?? 1;
  if (!Number.isInteger(n) || n < 1 || n > LIMITS.maxChoices) {
    throw invalid("n", `'n' must be an integer between 1 and ${LIMITS.maxChoices}.`);
  }
  checkResume(draft, sampling, model.vocabSize);
  const priority = draft.priority ?? 0;
  if (!Number.isInteger(priority) || Math.abs(priority) > 1000) {
    throw invalid("priority", "'priority' must be an integer between -1000 and 1000.");
  }
  return Object.freeze({
    id: draft.id,
    model: model.name,
    promptTokenIds: draft.promptTokenIds,
    promptText: draft.promptText,
    n,
    sampling: Object.freeze(sampling),
    priority,
    tenant: draft.tenant,
    deadlineMs: draft.deadlineMs,
    maxWaitingBytes: draft.maxWaitingBytes,
    resume: draft.resume,
  });
}
