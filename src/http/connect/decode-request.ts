import type { HandlerContext } from "@connectrpc/connect";
import type { GenerateRequest } from "../../core/generate.ts";
import type { SamplingParams } from "../../core/sampling-params.ts";
import type {
  CompleteRequest,
  GenerateRequest as GenerateMessage,
  SamplingParams as SamplingMessage,
} from "../../gen/scalellm/v1/inference_pb.ts";
import { prepareRequest } from "../prepare-request.ts";
import { requestDeadlineMs } from "../request-deadline.ts";
import { TENANT } from "./call-context.ts";
import { resolvePrompt } from "./resolve-prompt.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/** Only what the message names; prepareRequest checks the ranges and fills in the rest. */
export function decodeSampling(message: SamplingMessage | undefined): Partial<SamplingParams> {
  if (message === undefined) return {};
  const { seed, logitBias, stop, stopTokenIds } = message;
  const named = {
    maxTokens: message.maxTokens,
    minTokens: message.minTokens,
    temperature: message.temperature,
    topP: message.topP,
    topK: message.topK,
    minP: message.minP,
    // Beyond 2^53 the number is rounded, and prepareRequest refuses it.
    seed: seed === undefined ? undefined : Number(seed),
    presencePenalty: message.presencePenalty,
    frequencyPenalty: message.frequencyPenalty,
    repetitionPenalty: message.repetitionPenalty,
    logitBias: Object.entries(logitBias).map(([id, bias]) => [Number(id), bias] as const),
    stop,
    stopTokenIds,
    ignoreEos: message.ignoreEos,
    includeStopStrInOutput: message.includeStopStrInOutput,
    skipSpecialTokens: message.skipSpecialTokens,
    logprobs: message.logprobs,
    promptLogprobs: message.promptLogprobs,
  };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

/** Tokenises and checks a request. Throws ServeError. */
export async function decodeRequest(
  message: GenerateMessage | CompleteRequest,
  context: HandlerContext,
  deps: RpcDeps,
): Promise<GenerateRequest> {
  const deadlineMs = requestDeadlineMs(deps.clock.nowMs(), deps.limits, context.timeoutMs());
  const model = deps.gateway.model(message.model);
  const caller = { tenant: context.values.get(TENANT), signal: context.signal };
  const prompt = await resolvePrompt(message.prompt, message.addSpecialTokens ?? true, model, caller, "prompt");
  const resume = message.$typeName === "scalellm.v1.GenerateRequest" ? message.resume : undefined;
  const draft = {
    id: `gen-${crypto.randomUUID()}`,
    tenant: caller.tenant,
    promptTokenIds: prompt.ids,
    promptText: prompt.text,
    n: message.n,
    sampling: decodeSampling(message.sampling),
    priority: message.priority,
    deadlineMs,
    ...(resume === undefined ? {} : { resume: { outputTokenIds: Int32Array.from(resume.outputTokenIds) } }),
  };
  return prepareRequest(draft, model);
}
