import type { HandlerContext } from "@connectrpc/connect";
import type { GenerateRequest } from "../../core/generate.ts";
import { SAMPLING_FIELDS } from "../../core/sampling-fields.ts";
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
  const decoded: Record<string, unknown> = {};
  for (const { field, kind } of SAMPLING_FIELDS) {
    const value: unknown = message[field];
    if (value === undefined) continue;
    if (kind === "int64") decoded[field] = narrowed(value as bigint);
    else if (kind === "biases")
      decoded[field] = Object.entries(value as object).map(([id, bias]) => [Number(id), bias]);
    else decoded[field] = value;
  }
  return decoded;
}

/** A number where that is exact. */
function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
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
