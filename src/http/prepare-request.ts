import { LIMITS } from "../config/limits.ts";
import { ServeError } from "../core/errors.ts";
import type { GenerateRequest } from "../core/generate.ts";
import { problemOf, SAMPLING_FIELDS, samplingField } from "../core/sampling-fields.ts";
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
  /** What an API calls a field, for errors, where it is not its name in SAMPLING_FIELDS. */
  params?: Readonly<Record<string, string>>;
}

/** By field: its name in both APIs. */
const NAMES = new Map<string, string>(SAMPLING_FIELDS.map(({ field, name }) => [field, name]));

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
    const problem = problemOf(samplingField("logitBias"), bias);
    if (problem !== undefined) throw invalid("logit_bias", `The bias of token ${id} ${problem}.`);
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
 * All sampling parameters: the request's own, else the checkpoint's defaults, else what the model is known to need, else the
 * API's defaults. Values that other servers take for "all" or "none" become ours.
 */
function resolveSampling(draft: RequestDraft, model: ServedModel, room: number): SamplingParams {
  const named = Object.fromEntries(Object.entries(draft.sampling).filter(([, value]) => value !== undefined));
  const sampling: SamplingParams = {
    ...DEFAULT_SAMPLING,
    maxTokens: room,
    // Without a seed every request is its own random stream; Web Crypto so that streams cannot be guessed.
    seed: crypto.getRandomValues(new Uint32Array(1))[0]!,
    ...(named.temperature === undefined ? model.recommendedSampling : {}),
    ...model.generationDefaults,
    ...named,
  };
  // llama.cpp and older vLLM clients write "as many as there is room for" as -1.
  if (sampling.maxTokens === -1) sampling.maxTokens = room;
  // vLLM writes "all" as -1.
  if (sampling.topK === -1) sampling.topK = 0;
  // OpenAI and llama.cpp take 0 for the most likely token alone, which is what a greedy request takes anyway.
  if (Math.fround(sampling.temperature) === 0 && Math.fround(sampling.topP) === 0) sampling.topP = 1;
  // llama.cpp passes over empty stop strings; clients send one where a form was left empty.
  if (sampling.stop.includes("")) sampling.stop = sampling.stop.filter((stop) => stop !== "");
  return sampling;
}

/** A number as the kernels see it, since a double may round to one that they refuse. */
function checkNumbers(sampling: SamplingParams, paramOf: (field: keyof SamplingParams) => string): void {
  for (const spec of SAMPLING_FIELDS) {
    const value = sampling[spec.field];
    if (typeof value !== "number" && typeof value !== "bigint") continue;
    const problem = problemOf(spec, value);
    if (problem !== undefined) throw invalid(paramOf(spec.field), `'${paramOf(spec.field)}' ${problem}.`);
  }
}

/**
 * Checks every range, fills in defaults and clips max_tokens to what the context leaves.
 * Throws ServeError invalid_argument that names the parameter; `context_length_exceeded` for a prompt without room.
 */
export function prepareRequest(draft: RequestDraft, model: ServedModel): GenerateRequest {
  const paramOf = (field: string) => draft.params?.[field] ?? NAMES.get(field) ?? field;
  const room = model.maxModelLen - draft.promptTokenIds.length;
  if (draft.promptTokenIds.length === 0) throw invalid(paramOf("prompt"), "The prompt must have at least one token.");
  if (room < 1) {
    throw promptTooLong(paramOf("prompt"), draft.promptTokenIds.length, model.maxModelLen);
  }
  checkTokenIds(draft.promptTokenIds, model.vocabSize, paramOf("prompt"));

  const sampling = resolveSampling(draft, model, room);
  checkNumbers(sampling, paramOf);
  checkLists(sampling, model.vocabSize);
  // Only the client's own max_tokens can contradict its min_tokens: what the context leaves is not its choice.
  const ownMaxTokens = draft.sampling.maxTokens === -1 ? undefined : draft.sampling.maxTokens;
  if (ownMaxTokens !== undefined && sampling.minTokens > ownMaxTokens) {
    throw invalid("min_tokens", `'min_tokens' must not be greater than '${paramOf("maxTokens")}'.`);
  }
  sampling.maxTokens = Math.min(sampling.maxTokens, room);
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
