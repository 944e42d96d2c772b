import { ServeError } from "../core/errors.ts";
import { FAIL } from "../engine/step-message.ts";

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

  /** The request was in every one of several failures. */
  ofCrash(): ServeError {
    return new ServeError("internal", "The engine failed repeatedly while it ran this request.");
  },
};
