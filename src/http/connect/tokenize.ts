import { create, toBinary } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type TokenizeRequest,
  type TokenizeResponse,
  TokenizeResponseSchema,
} from "../../gen/scalellm/v1/inference_pb.ts";
import { Blocks } from "./blocks.ts";
import { TENANT } from "./call-context.ts";
import { takesFrames } from "./frame-sink.ts";
import { PREPARED_ANSWER } from "./prepared-answer.ts";
import { resolvePrompt } from "./resolve-prompt.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/** Ids encoded in one go, in about 100 us. */
const IDS_AT_ONCE = 1024;
/** More than so many are encoded in slices. */
const MANY_IDS = 8192;

/** Tokenize. Throws ServeError. */
export async function tokenize(
  message: TokenizeRequest,
  context: HandlerContext,
  deps: RpcDeps,
): Promise<TokenizeResponse> {
  const model = deps.gateway.model(message.model);
  const caller = { tenant: context.values.get(TENANT), signal: context.signal };
  const { ids } = await resolvePrompt(message.input, message.addSpecialTokens ?? true, model, caller, "input");
  const response = create(TokenizeResponseSchema, { count: ids.length, maxModelLen: model.maxModelLen });
  // The form of a GET stands in its URL, which has no room for a long text.
  if (ids.length <= MANY_IDS || context.requestMethod !== "POST") {
    response.tokenIds = Array.from(ids);
    return response;
  }
  const pieces = takesFrames(context.requestHeader) ? binaryPieces(response, ids) : jsonPieces(response, ids);
  const blocks = new Blocks();
  const adding = pieces.map((piece) => blocks.add(piece));
  await deps.turns.run(adding, context.signal);
  context.values.get(PREPARED_ANSWER)!.set(blocks);
  return create(TokenizeResponseSchema);
}

/** Messages one after the other are one message; their lists are joined. */
function* binaryPieces(response: TokenizeResponse, ids: Int32Array): Generator<Uint8Array> {
  yield toBinary(TokenizeResponseSchema, response);
  for (let at = 0; at < ids.length; at += IDS_AT_ONCE) {
    const tokenIds = Array.from(ids.subarray(at, at + IDS_AT_ONCE));
    yield toBinary(TokenizeResponseSchema, create(TokenizeResponseSchema, { tokenIds }));
  }
}

function* jsonPieces({ count, maxModelLen }: TokenizeResponse, ids: Int32Array): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  yield encoder.encode(`{"count":${count},"max_model_len":${maxModelLen},"token_ids":[`);
  for (let at = 0; at < ids.length; at += IDS_AT_ONCE) {
    yield encoder.encode((at === 0 ? "" : ",") + ids.subarray(at, at + IDS_AT_ONCE).join(","));
  }
  yield encoder.encode("]}");
}
