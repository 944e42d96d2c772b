import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { ServeError } from "../../core/errors.ts";
import {
  type DetokenizeRequest,
  DetokenizeResponseSchema,
  type InferenceService,
  ListModelsResponseSchema,
  ModelSchema,
} from "../../gen/scalellm/v1/inference_pb.ts";
import type { AnswerPace } from "../answer-pace.ts";
import { complete } from "./complete.ts";
import { generateStream } from "./generate-stream.ts";
import { observeCall } from "./observe-call.ts";
import { PREPARED_ANSWER } from "./prepared-answer.ts";
import type { RpcDeps } from "./rpc-deps.ts";
import { tokenize } from "./tokenize.ts";

function detokenize(message: DetokenizeRequest, deps: RpcDeps) {
  const model = deps.gateway.model(message.model);
  const { tokenIds } = message;
  // Decoding runs on the event loop, so its length is bounded; no output of this model is longer.
  if (tokenIds.length > model.maxModelLen) {
    throw new ServeError("invalid_argument", `At most ${model.maxModelLen} token ids are allowed.`, {
      param: "token_ids",
      reason: "context_length_exceeded",
    });
  }
  const wrong = tokenIds.find((id) => id < 0 || id >= model.vocabSize);
  if (wrong !== undefined) {
    throw new ServeError(
      "invalid_argument",
      `Token id ${wrong} is not in the vocabulary (0..${model.vocabSize - 1}).`,
      { param: "token_ids", reason: "invalid_value" },
    );
  }
  const text = model.text.tokenizer.decode(tokenIds, message.skipSpecialTokens ?? false);
  return create(DetokenizeResponseSchema, { text });
}

function listModels(deps: RpcDeps) {
  const models = deps.gateway.models().map((model) =>
    create(ModelSchema, {
      name: model.name,
      createdS: BigInt(model.createdS),
      maxModelLen: model.maxModelLen,
      vocabSize: model.vocabSize,
      hasChatTemplate: model.text.hasChatTemplate,
    }),
  );
  return create(ListModelsResponseSchema, { models });
}

/** scalellm.v1.InferenceService over the gateway; the same implementation serves Connect, gRPC-Web and gRPC. */
export function createInferenceService(deps: RpcDeps): ServiceImpl<typeof InferenceService> {
  const observed = async <T>(context: HandlerContext, run: (pace: AnswerPace) => T | Promise<T>): Promise<T> => {
    const call = observeCall(context, deps);
    try {
      const answer = await run(call.pace);
      // A long answer is over when it has been sent: its reader may stall, or leave.
      const sending = context.values.get(PREPARED_ANSWER)?.sending;
      if (sending === undefined) call.end(true);
      else void sending.then((unsent) => call.end(true, unsent));
      return answer;
    } catch (error) {
      const failure = call.failed(error);
      call.end(true);
      throw failure;
    }
  };
  return {
    generate: (message, context) => generateStream(message, context, deps),
    complete: (message, context) => observed(context, (pace) => complete(message, context, deps, pace)),
    tokenize: (message, context) => observed(context, () => tokenize(message, context, deps)),
    detokenize: (message, context) => observed(context, () => detokenize(message, deps)),
    listModels: (_message, context) => observed(context, () => listModels(deps)),
  };
}
