import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type GenerateRequest,
  type GenerateResponse,
  GenerateResponseSchema,
  TextDeltaSchema,
} from "../../gen/scalellm/v1/inference_pb.ts";
import { turnFor } from "../turn-for-event.ts";
import { decodeRequest } from "./decode-request.ts";
import { encodeEnd, encodePrompt } from "./encode-events.ts";
import { encodeLogprob, encodePromptLogprob } from "./encode-logprobs.ts";
import { encodeFrame, FRAME_SINK } from "./frame-sink.ts";
import { observeCall } from "./observe-call.ts";
import type { RpcDeps } from "./rpc-deps.ts";
import { areMany, sendSliced, slicedPromptEvent } from "./sliced-answers.ts";

/**
 * Generate. Uses the same message object each time, with new content: a message is serialised before the next is asked
 * for, and built anew for each token it would cost more than it says. The first goes through Connect, the others through
 * the transport's frame sink, where it has one.
 */
export async function* generateStream(
  message: GenerateRequest,
  context: HandlerContext,
  deps: RpcDeps,
): AsyncGenerator<GenerateResponse> {
  const response = create(GenerateResponseSchema);
  const delta = create(TextDeltaSchema);
  const deltaEvent = { case: "textDelta", value: delta } as const;
  const noLogprobs: typeof delta.logprobs = [];
  const sink = context.values.get(FRAME_SINK);
  let isFirst = true;
  let whole = false;
  const call = observeCall(context, deps);
  try {
    const request = await decodeRequest(message, context, deps);
    const model = deps.gateway.model(request.model);
    const { tokenizer } = model.text;
    for await (const event of deps.gateway.generate(request, context.signal)) {
      call.pace.event(event);
      if (deps.turns.spent()) await turnFor(event, deps.turns);
      switch (event.type) {
        case "text-delta":
          delta.index = event.index;
          delta.text = event.text;
          // Only read while it is serialised.
          delta.tokenIds = event.tokenIds as number[];
          delta.logprobs = event.logprobs?.map((entry) => encodeLogprob(entry, tokenizer)) ?? noLogprobs;
          response.event = deltaEvent;
          break;
        case "prompt": {
          const prompt = encodePrompt(event, request, model);
          const { promptLogprobs = [] } = event;
          if (areMany(promptLogprobs)) {
            await sendSliced(slicedPromptEvent(prompt, promptLogprobs, tokenizer), context, deps);
            yield create(GenerateResponseSchema);
            isFirst = false;
            continue;
          }
          prompt.promptLogprobs = promptLogprobs.map((entry) => encodePromptLogprob(entry, tokenizer));
          response.event = { case: "prompt", value: prompt };
          break;
        }
        case "end":
          response.event = { case: "end", value: encodeEnd(event) };
          break;
      }
      if (isFirst || sink === undefined) {
        isFirst = false;
        yield response;
      } else {
        const slow = sink.write(encodeFrame(GenerateResponseSchema, response));
        if (slow !== undefined) await slow;
      }
    }
    whole = true;
  } catch (error) {
    throw call.failed(error);
  } finally {
    call.end(whole);
  }
}
