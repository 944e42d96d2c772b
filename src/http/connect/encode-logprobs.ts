import { create } from "@bufbuild/protobuf";
import type { TokenLogprob } from "../../core/generate.ts";
import {
  type PromptLogprob,
  PromptLogprobSchema,
  type TokenLogprob as TokenLogprobMessage,
  TokenLogprobSchema,
  TopLogprobSchema,
} from "../../gen/scalellm/v1/inference_pb.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";

/** protobuf-es wants bytes over an ArrayBuffer of their own kind; the tokenizer's storage is shared and only read. */
function bytesOf(tokenizer: Tokenizer, tokenId: number): Uint8Array<ArrayBuffer> {
  return tokenizer.tokenBytes(tokenId) as Uint8Array<ArrayBuffer>;
}

export function encodeLogprob(entry: TokenLogprob, tokenizer: Tokenizer): TokenLogprobMessage {
  const message = create(TokenLogprobSchema);
  message.tokenId = entry.tokenId;
  message.token = bytesOf(tokenizer, entry.tokenId);
  message.logprob = entry.logprob;
  message.rank = entry.rank;
  message.top = entry.top.map(({ tokenId, logprob }) => {
    const top = create(TopLogprobSchema);
    top.tokenId = tokenId;
    top.token = bytesOf(tokenizer, tokenId);
    top.logprob = logprob;
    return top;
  });
  return message;
}

export function encodePromptLogprob(entry: TokenLogprob | null, tokenizer: Tokenizer): PromptLogprob {
  const message = create(PromptLogprobSchema);
  if (entry !== null) message.logprob = encodeLogprob(entry, tokenizer);
  return message;
}
