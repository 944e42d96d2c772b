import type { GenerateRequest } from "../core/generate.ts";
import type { SamplingParams } from "../core/sampling-params.ts";
import type { AddChoice, AddRequest } from "../engine/messages.ts";
import type { EngineSampling } from "../engine/sequence.ts";

/** The engine's part of the sampling parameters; stop strings stay here. */
export function engineSampling(sampling: SamplingParams, eosTokenIds: readonly number[]): EngineSampling {
  const stopIds = new Set(sampling.stopTokenIds);
  if (!sampling.ignoreEos) for (const id of eosTokenIds) stopIds.add(id);
  return {
    maxTokens: sampling.maxTokens,
    minTokens: sampling.minTokens,
    temperature: sampling.temperature,
    topK: sampling.topK,
    topP: sampling.topP,
    minP: sampling.minP,
    seed: sampling.seed,
    presencePenalty: sampling.presencePenalty,
    frequencyPenalty: sampling.frequencyPenalty,
    repetitionPenalty: sampling.repetitionPenalty,
    logitBias: sampling.logitBias,
    stopIds: Int32Array.from(stopIds),
    logprobs: sampling.logprobs ?? -1,
    promptLogprobs: sampling.promptLogprobs ?? -1,
  };
}

export function addRequest(
  request: GenerateRequest,
  sampling: EngineSampling,
  choices: readonly AddChoice[],
  nowMs: number,
): AddRequest {
  return {
    type: "add",
    prompt: request.promptTokenIds,
    sampling,
    priority: request.priority,
    tenant: request.tenant,
    deadlineInMs: request.deadlineMs === undefined ? undefined : Math.max(0, request.deadlineMs - nowMs),
    choices,
  };
}
