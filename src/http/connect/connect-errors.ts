import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorCode, toServeError } from "../../core/errors.ts";
import { ErrorDetailSchema } from "../../gen/scalellm/v1/inference_pb.ts";

const CODES: Record<ErrorCode, Code> = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  payload_too_large: Code.ResourceExhausted,
  rate_limited: Code.ResourceExhausted,
  overloaded: Code.ResourceExhausted,
  deadline_exceeded: Code.DeadlineExceeded,
  cancelled: Code.Canceled,
  unavailable: Code.Unavailable,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
};

/** Names the range checks report that are spelled differently in the RPC messages. */
const RENAMED: Record<string, string> = { top_logprobs: "sampling.logprobs" };
const SAMPLING_PARAM =
  /^(max_tokens|min_tokens|temperature|top_p|top_k|min_p|seed|presence_penalty|frequency_penalty|repetition_penalty|logit_bias|stop|stop_token_ids|prompt_logprobs)$/;

function fieldPath(param: string): string {
  if (param.startsWith("messages")) return `chat.${param}`;
  return RENAMED[param] ?? (SAMPLING_PARAM.test(param) ? `sampling.${param}` : param);
}

/**
 * The RPC error for any thrown value, with an ErrorDetail. Connect's own errors pass as they are; what is no ServeError
 * becomes `internal` and is reported, never shown.
 */
export function toConnectError(error: unknown, reportError: (error: unknown) => void): ConnectError {
  if (error instanceof ConnectError) return error;
  const serveError = toServeError(error);
  if (serveError.code === "internal") reportError(serveError.cause ?? serveError);
  const detail = {
    param: serveError.param === undefined ? "" : fieldPath(serveError.param),
    reason: serveError.reason ?? "",
    ...(serveError.retryAfterS === undefined ? {} : { retryAfterS: serveError.retryAfterS }),
  };
  return new ConnectError(serveError.message, CODES[serveError.code], undefined, [
    { desc: ErrorDetailSchema, value: detail },
  ]);
}

/**
 * As toConnectError; but where the call's own signal has aborted, its reason (deadline, shutdown, the client's cancel) is
 * the error, whatever form the abort took on its way back.
 */
export function callError(error: unknown, signal: AbortSignal, reportError: (error: unknown) => void): ConnectError {
  if (!signal.aborted) return toConnectError(error, reportError);
  if (signal.reason instanceof ConnectError) return signal.reason;
  return new ConnectError("the call was cancelled", Code.Canceled);
}
