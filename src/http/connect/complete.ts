import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type Choice,
  ChoiceSchema,
  type CompleteRequest,
  type CompleteResponse,
  CompleteResponseSchema,
} from "../../gen/scalellm/v1/inference_pb.ts";
import { decodeRequest } from "./decode-request.ts";
import { encodeEnd, encodePrompt, encodeUsage } from "./encode-events.ts";
import { encodeLogprob } from "./encode-logprobs.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/** Complete: the stream's events gathered into one answer. Throws ServeError. */
export async function complete(
  message: CompleteRequest,
  context: HandlerContext,
  deps: RpcDeps,
): Promise<CompleteResponse> {
  const request = await decodeRequest(message, context, deps);
  const { tokenizer } = deps.gateway.model(request.model).text;
  const response = create(CompleteResponseSchema);
  const choices = Array.from({ length: request.n }, (_, index): Choice => create(ChoiceSchema, { index }));
  const usage = { promptTokens: request.promptTokenIds.length, completionTokens: 0, cachedTokens: 0 };
  for await (const event of deps.gateway.generate(request, context.signal)) {
    if (event.type === "prompt") {
      response.prompt = encodePrompt(event, request, tokenizer);
      usage.cachedTokens = event.cachedTokens;
      continue;
    }
    const choice = choices[event.index]!;
    if (event.type === "text-delta") {
      choice.text += event.text;
      for (const id of event.tokenIds) choice.tokenIds.push(id);
      for (const entry of event.logprobs ?? []) choice.logprobs.push(encodeLogprob(entry, tokenizer));
    } else {
      choice.end = encodeEnd(event);
      usage.completionTokens += event.usage.completionTokens;
    }
  }
  response.choices = choices;
  response.usage = encodeUsage(usage);
  return response;
}
