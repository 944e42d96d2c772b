import { create } from "@bufbuild/protobuf";
import type { FinishReason, GenerateEvent, GenerateRequest, Usage } from "../../core/generate.ts";
import type { ServedModel } from "../../gateway/gateway.ts";
import {
  type GenerateEnd,
  GenerateEndSchema,
  type PromptInfo,
  PromptInfoSchema,
  FinishReason as Reason,
  StageTimingsSchema,
  type Usage as UsageMessage,
  UsageSchema,
} from "../../gen/scalellm/v1/inference_pb.ts";

const REASONS: Record<FinishReason, Reason> = {
  stop: Reason.STOP,
  length: Reason.LENGTH,
  tool_calls: Reason.TOOL_CALLS,
  abort: Reason.ABORT,
};

export function encodeUsage(usage: Usage): UsageMessage {
  return create(UsageSchema, { ...usage });
}

/** Without the logprobs, which may be many. */
export function encodePrompt(
  event: Extract<GenerateEvent, { type: "prompt" }>,
  request: GenerateRequest,
  model: ServedModel,
): PromptInfo {
  return create(PromptInfoSchema, {
    requestId: request.id,
    promptTokens: request.promptTokenIds.length,
    cachedTokens: event.cachedTokens,
    systemFingerprint: model.systemFingerprint,
  });
}

export function encodeEnd(event: Extract<GenerateEvent, { type: "end" }>): GenerateEnd {
  const { arrivedMs, scheduledMs, firstTokenMs, finishedMs, preemptions } = event.timings;
  const message = create(GenerateEndSchema, {
    index: event.index,
    finishReason: REASONS[event.finishReason],
    usage: encodeUsage(event.usage),
    timings: create(StageTimingsSchema, {
      queueMs: scheduledMs - arrivedMs,
      prefillMs: firstTokenMs - scheduledMs,
      decodeMs: finishedMs - firstTokenMs,
      preemptions,
    }),
  });
  if (typeof event.stopReason === "string") message.stopReason = { case: "stopText", value: event.stopReason };
  if (typeof event.stopReason === "number") message.stopReason = { case: "stopTokenId", value: event.stopReason };
  return message;
}
