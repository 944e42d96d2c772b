import { reflected } from "./reflected.ts";

/**
 * The one error type that may reach a client. Anything else that is thrown is logged and answered as `internal`,
 * without its message.
 */
export type ErrorCode =
  | "invalid_argument" // 400, gRPC INVALID_ARGUMENT
  | "unauthenticated" // 401
  | "permission_denied" // 403
  | "not_found" // 404: unknown model or path
  | "payload_too_large" // 413
  | "rate_limited" // 429: the caller's own limit
  | "overloaded" // 429: the server's queue is full
  | "deadline_exceeded" // 504 (408 for a request body that never arrives)
  | "cancelled" // 499: the client went away
  | "unavailable" // 503: starting, draining or without a working replica
  | "unimplemented" // 501
  | "internal"; // 500

export interface ServeErrorOptions {
  /** The request field at fault, in the API's own spelling (`messages[0].content`). */
  param?: string | undefined;
  /** A machine-readable reason, such as `context_length_exceeded`. */
  reason?: string | undefined;
  /** Seconds until a retry makes sense; sent as Retry-After. */
  retryAfterS?: number | undefined;
  /** The same request would fail again and do harm on the way: clients are told not to retry it by themselves. */
  final?: boolean | undefined;
  cause?: unknown;
}

/** Longest message, our own words included. Pieces that a client sent are cut where they are put in, to less. */
export const MAX_MESSAGE_CHARS = 1024;

/** Its message and param are short and well-formed, whatever a client's text in them was. */
export class ServeError extends Error {
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly reason: string | undefined;
  readonly retryAfterS: number | undefined;
  readonly final: boolean;

  constructor(code: ErrorCode, message: string, options: ServeErrorOptions = {}) {
    super(reflected(message, MAX_MESSAGE_CHARS), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ServeError";
    this.code = code;
    this.param = options.param === undefined ? undefined : reflected(options.param);
    this.reason = options.reason;
    this.retryAfterS = options.retryAfterS;
    this.final = options.final ?? false;
  }
}

/** What a client may see of any thrown value. */
export function toServeError(error: unknown): ServeError {
  if (error instanceof ServeError) return error;
  return new ServeError("internal", "The server met an internal error.", { cause: error });
}
