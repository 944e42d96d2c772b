import type { DescField } from "@bufbuild/protobuf";
import type { Limits } from "../../config/limits.ts";
import { ServeError } from "../../core/errors.ts";
import {
  ChatPromptSchema,
  DetokenizeRequestSchema,
  ResumeSchema,
  SamplingParamsSchema,
  TokenIdsSchema,
} from "../../gen/scalellm/v1/inference_pb.ts";

/** The most items of a list in a request, and how a longer one is refused. */
export interface ListBound {
  readonly most: number;
  refusal(): ServeError;
}

/** How much a message may hold before it is read: what its fields could legally have, by the models served here. */
export class MessageBounds {
  private readonly lists: ReadonlyMap<DescField, ListBound>;
  private readonly otherLists: ListBound;

  constructor(
    /** Tokens of the longest context served. */
    context: number,
    private readonly limits: Limits,
  ) {
    const sampling = SamplingParamsSchema.field;
    const ids = (param: string) => bound(param, context, "token ids", "context_length_exceeded");
    this.lists = new Map<DescField, ListBound>([
      [TokenIdsSchema.field.ids, ids("prompt")],
      [ResumeSchema.field.outputTokenIds, ids("resume.output_token_ids")],
      [DetokenizeRequestSchema.field.tokenIds, ids("token_ids")],
      [ChatPromptSchema.field.messages, bound("messages", limits.maxMessages, "messages")],
      [sampling.stop, bound("stop", limits.maxStopStrings, "stop strings")],
      [sampling.stopTokenIds, bound("stop_token_ids", limits.maxStopTokenIds, "stop token ids")],
      [sampling.logitBias, bound("logit_bias", limits.maxLogitBias, "logit biases")],
    ]);
    this.otherLists = bound("", limits.maxMessageFields, "items of a list");
  }

  get maxFields(): number {
    return this.limits.maxMessageFields;
  }

  /** Lists without a bound of their own are bounded as fields are. */
  ofList(field: DescField): ListBound {
    return this.lists.get(field) ?? this.otherLists;
  }
}

function bound(param: string, most: number, what: string, reason = "invalid_value"): ListBound {
  return {
    most,
    refusal: () => new ServeError("invalid_argument", `At most ${most} ${what} are allowed.`, { param, reason }),
  };
}
