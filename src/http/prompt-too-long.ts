import { ServeError } from "../core/errors.ts";

/** The reply to a prompt that leaves no room for an answer. */
export function promptTooLong(param: string, promptTokens: number, maxModelLen: number): ServeError {
  return new ServeError(
    "invalid_argument",
    `This model's maximum context length is ${maxModelLen} tokens, but the prompt has ${promptTokens}; ` +
      "at least one must be left for the answer.",
    { param, reason: "context_length_exceeded" },
  );
}
