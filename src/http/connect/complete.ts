import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { TokenLogprob } from "../../core/generate.ts";
import {
  ChoiceSchema,
  type CompleteRequest,
  type CompleteResponse,
  CompleteResponseSchema,
  type PromptInfo,
} from "../../gen/scalellm/v1/inference_pb.ts";
import type { AnswerPace } from "../answer-pace.ts";
import { decodeRequest } from "./decode-request.ts";
import { encodeEnd, encodePrompt, encodeUsage } from "./encode-events.ts";
import { encodeLogprob, encodePromptLogprob } from "./encode-logprobs.ts";
import type { RpcDeps } from "./rpc-deps.ts";
import { areMany, sendSliced, slicedCompletion } from "./sliced-answers.ts";

/** Complete: the stream's events gathered into one answer. Throws ServeError. */
export async function complete(
  message: CompleteRequest,
  context: HandlerContext,
  deps: RpcDeps,
  pace: AnswerPace,
): Promise<CompleteResponse> {
  const request = await decodeRequest(message, context, deps);
  const model = deps.gateway.model(request.model);
  const { tokenizer } = model.text;
  const choices = Array.from({ length: request.n }, (_, index) => ({
    message: create(ChoiceSchema, { index }),
    logprobs: [] as TokenLogprob[],
  }));
  const counts = { promptTokens: request.promptTokenIds.length, completionTokens: 0, cachedTokens: 0 };
  let prompt: PromptInfo | undefined;
  let promptLogprobs: ReadonlyArray<TokenLogprob | null> = [];
  for await (const event of deps.gateway.generate(request, context.signal)) {
    pace.event(event);
    if (event.type === "prompt") {
      prompt = encodePrompt(event, request, model);
      promptLogprobs = event.promptLogprobs ?? [];
      counts.cachedTokens = event.cachedTokens;
      continue;
    }
    const choice = choices[event.index]!;
    if (event.type === "text-delta") {
      choice.message.text += event.text;
      for (const id of event.tokenIds) choice.message.tokenIds.push(id);
      for (const entry of event.logprobs ?? []) choice.logprobs.push(entry);
    } else {
      choice.message.end = encodeEnd(event);
      counts.completionTokens += event.usage.completionTokens;
    }
  }
  const usage = encodeUsage(counts);
  if (areMany(promptLogprobs, ...choices.map(({ logprobs }) => logprobs))) {
    await sendSliced(slicedCompletion(prompt, promptLogprobs, choices, usage, tokenizer), context, deps);
    return create(CompleteResponseSchema);
  }
  if (prompt !== undefined)
    prompt.promptLogprobs = promptLogprobs.map((entry) => encodePromptLogprob(entry, tokenizer));
  for (const { message: choice, logprobs } of choices) {
    choice.logprobs = logprobs.map((entry) => encodeLogprob(entry, tokenizer));
  }
  const response = create(CompleteResponseSchema);
  if (prompt !== undefined) response.prompt = prompt;
  response.choices = choices.map((choice) => choice.message);
  response.usage = usage;
  return response;
}
