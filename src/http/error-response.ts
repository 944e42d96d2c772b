import { type ErrorCode, type ServeError, toServeError } from "../core/errors.ts";

/** OpenAI's HTTP status, `type` and default `code` of each error. */
const SHAPES: Record<ErrorCode, { status: number; type: string; code: string | null }> = {
  invalid_argument: { status: 400, type: "invalid_request_error", code: null },
  unauthenticated: { status: 401, type: "invalid_request_error", code: "invalid_api_key" },
  permission_denied: { status: 403, type: "invalid_request_error", code: "permission_denied" },
  not_found: { status: 404, type: "invalid_request_error", code: "not_found" },
  payload_too_large: { status: 413, type: "invalid_request_error", code: "payload_too_large" },
  rate_limited: { status: 429, type: "rate_limit_error", code: "rate_limit_exceeded" },
  overloaded: { status: 429, type: "overloaded_error", code: "overloaded" },
  deadline_exceeded: { status: 504, type: "timeout_error", code: "deadline_exceeded" },
  cancelled: { status: 499, type: "cancelled_error", code: "cancelled" },
  unavailable: { status: 503, type: "unavailable_error", code: "unavailable" },
  unimplemented: { status: 501, type: "invalid_request_error", code: "unimplemented" },
  internal: { status: 500, type: "server_error", code: "internal_error" },
};

/** Errors of HTTP itself, which the core's codes do not tell apart. */
const STATUS_BY_REASON: Readonly<Record<string, number>> = {
  body_timeout: 408,
  method_not_allowed: 405,
  unsupported_content_encoding: 415,
};

/** Where nothing better is known, a client that is told to wait waits this long. */
const DEFAULT_RETRY_AFTER_S = 1;

export function httpStatus(error: ServeError): number {
  return STATUS_BY_REASON[error.reason ?? ""] ?? SHAPES[error.code].status;
}

/** OpenAI's error object, as in `{"error": ...}`. */
export function errorBody(error: ServeError): { error: Record<"message" | "type" | "param" | "code", string | null> } {
  const { type, code } = SHAPES[error.code];
  return { error: { message: error.message, type, param: error.param ?? null, code: error.reason ?? code } };
}

/** The response for anything thrown. What is no ServeError is answered as internal, without its message. */
export function errorResponse(thrown: unknown): Response {
  const error = toServeError(thrown);
  const status = httpStatus(error);
  const headers: Record<string, string> = {};
  if (status === 401) headers["www-authenticate"] = 'Bearer realm="scalellm"';
  if (status === 429 || status === 503) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(error.retryAfterS ?? DEFAULT_RETRY_AFTER_S)));
  }
  // The clients of OpenAI and Anthropic retry whatever is 500, unless this says no.
  if (error.final) headers["x-should-retry"] = "false";
  return Response.json(errorBody(error), { status, headers });
}
