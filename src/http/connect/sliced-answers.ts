import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { ServeError } from "../../core/errors.ts";
import type { TokenLogprob } from "../../core/generate.ts";
import {
  type Choice,
  ChoiceSchema,
  CompleteResponseSchema,
  GenerateResponseSchema,
  type PromptInfo,
  PromptInfoSchema,
  PromptLogprobSchema,
  TokenLogprobSchema,
  type Usage,
} from "../../gen/scalellm/v1/inference_pb.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { encodeLogprob, encodePromptLogprob } from "./encode-logprobs.ts";
import { encodeSliced, type Sliced, type SlicedField } from "./encode-sliced.ts";
import { takesFrames } from "./frame-sink.ts";
import { PREPARED_ANSWER } from "./prepared-answer.ts";
import type { RpcDeps } from "./rpc-deps.ts";
import { JSON_WRITE_OPTIONS } from "./rpc-options.ts";

/** Alternatives of tokens that are encoded in one go, which takes about 2 ms. */
const MANY = 2000;

type PromptLogprobs = ReadonlyArray<TokenLogprob | null>;

/** Whether there are so many that their message is encoded in slices. */
export function areMany(...lists: readonly PromptLogprobs[]): boolean {
  let count = 0;
  for (const entries of lists) count += entries.length * (1 + (entries.at(-1)?.top.length ?? 0));
  return count > MANY;
}

/** Has the transport send this message in place of the one that the implementation returns next. Throws ServeError. */
export async function sendSliced(message: Sliced, context: HandlerContext, deps: RpcDeps): Promise<void> {
  const blocks = await encodeSliced(message, {
    turns: deps.turns,
    signal: context.signal,
    maxBytes: deps.limits.maxRpcResponseBytes,
    tooLarge: (maxBytes) => new ServeError("payload_too_large", `The answer is larger than ${maxBytes} bytes.`),
    json: takesFrames(context.requestHeader) ? undefined : JSON_WRITE_OPTIONS,
  });
  context.values.get(PREPARED_ANSWER)!.set(blocks);
}

/** What is known of a prompt, as Generate's first message. */
export function slicedPromptEvent(prompt: PromptInfo, logprobs: PromptLogprobs, tokenizer: Tokenizer): Sliced {
  const parts = [{ field: GenerateResponseSchema.field.prompt, items: [slicedPrompt(prompt, logprobs, tokenizer)] }];
  return { schema: GenerateResponseSchema, message: create(GenerateResponseSchema), parts };
}

export interface GatheredChoice {
  /** Without its logprobs. */
  readonly message: Choice;
  readonly logprobs: readonly TokenLogprob[];
}

export function slicedCompletion(
  prompt: PromptInfo | undefined,
  promptLogprobs: PromptLogprobs,
  choices: readonly GatheredChoice[],
  usage: Usage,
  tokenizer: Tokenizer,
): Sliced {
  const parts: SlicedField[] = [
    { field: CompleteResponseSchema.field.choices, items: choices.map((choice) => slicedChoice(choice, tokenizer)) },
  ];
  if (prompt !== undefined) {
    const items = [slicedPrompt(prompt, promptLogprobs, tokenizer)];
    parts.unshift({ field: CompleteResponseSchema.field.prompt, items });
  }
  return { schema: CompleteResponseSchema, message: create(CompleteResponseSchema, { usage }), parts };
}

function slicedPrompt(message: PromptInfo, logprobs: PromptLogprobs, tokenizer: Tokenizer): Sliced {
  const items = logprobs.values().map((entry) => ({
    schema: PromptLogprobSchema,
    message: encodePromptLogprob(entry, tokenizer),
  }));
  return { schema: PromptInfoSchema, message, parts: [{ field: PromptInfoSchema.field.promptLogprobs, items }] };
}

function slicedChoice({ message, logprobs }: GatheredChoice, tokenizer: Tokenizer): Sliced {
  const items = logprobs
    .values()
    .map((entry) => ({ schema: TokenLogprobSchema, message: encodeLogprob(entry, tokenizer) }));
  return { schema: ChoiceSchema, message, parts: [{ field: ChoiceSchema.field.logprobs, items }] };
}
