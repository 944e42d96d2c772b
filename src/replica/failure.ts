import { ServeError } from "../core/errors.ts";
import type { RequestRefused } from "../engine/messages.ts";
import { FAIL } from "../engine/step-message.ts";

/** Names of a slot's parameters, where requests have others. */
const PARAMS: Readonly<Record<string, string>> = {
  logit_bias_ids: "logit_bias",
  logit_bias_values: "logit_bias",
  stop_ids: "stop_token_ids",
  prompt_tokens: "prompt",
  output_tokens: "resume.output_token_ids",
};

/** What a client is told when the engine cannot go on with its request. */
export const failure = {
  of(code: number, retryAfterS: number): ServeError {
    switch (code) {
      case FAIL.overloaded:
        return failure.overloaded(retryAfterS);
      case FAIL.deadline:
        return new ServeError("deadline_exceeded", "The request's deadline passed before it was done.");
      case FAIL.tooLong:
        return new ServeError("invalid_argument", "The prompt is longer than the context, or leaves no room in it.", {
          param: "prompt",
          reason: "context_length_exceeded",
        });
      case FAIL.refused:
        return new ServeError("internal", "The engine failed over this request.");
      default:
        return failure.ofCrash();
    }
  },

  overloaded(retryAfterS: number): ServeError {
    return new ServeError("overloaded", "The server's queue is full; try again later.", {
      reason: "queue_full",
      retryAfterS,
    });
  },

  /** The backend does not take the request's parameters, or has no room for it. */
  ofRefusal({ reason, field, message }: RequestRefused): ServeError {
    switch (reason) {
      case "invalid": {
        const param = PARAMS[field] ?? field;
        return new ServeError("invalid_argument", `'${param}' is not accepted by the engine: ${message}.`, {
          param,
          reason: "invalid_value",
        });
      }
      case "memory":
        return failure.overloaded(1);
      case "internal":
        return new ServeError("internal", "The engine failed over this request.", { cause: new Error(message) });
    }
  },

  /** The request was in every one of several failures. */
  ofCrash(): ServeError {
    return new ServeError("internal", "The engine failed repeatedly while it ran this request.", { final: true });
  },
};
