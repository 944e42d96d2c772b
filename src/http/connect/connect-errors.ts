import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorCode, ServeError, toServeError } from "../../core/errors.ts";
import { SAMPLING_FIELDS } from "../../core/sampling-fields.ts";
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

/** Names as SAMPLING_FIELDS has them, which lie in a message of their own here. */
const SAMPLING_PARAMS: ReadonlySet<string> = new Set(SAMPLING_FIELDS.map(({ name }) => name));

function fieldPath(param: string): string {
  if (param.startsWith("messages")) return `chat.${param}`;
  if (param === "chat_template_kwargs") return "chat.template_variables";
  return SAMPLING_PARAMS.has(param) ? `sampling.${param}` : param;
}

/** A code's name on the wire and in logs, as in "not_found". */
export function codeName(code: Code): string {
  return (Code[code] ?? "unknown").replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

/**
 * The RPC error for any thrown value, with an ErrorDetail where there is more to say than the message. Connect's own errors
 * pass as they are; what is no ServeError becomes `internal`, with the original as its cause, which is logged and never sent.
 */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const serveError = toServeError(error);
  const { param, reason, retryAfterS } = serveError;
  const says = param !== undefined || reason !== undefined || retryAfterS !== undefined;
  const detail = {
    param: param === undefined ? "" : fieldPath(param),
    reason: reason ?? "",
    ...(retryAfterS === undefined ? {} : { retryAfterS }),
  };
  const details = says ? [{ desc: ErrorDetailSchema, value: detail }] : [];
  // A negative pushback ends a client's retries (gRFC A6).
  const metadata = serveError.final ? { "grpc-retry-pushback-ms": "-1" } : undefined;
  return new ConnectError(serveError.message, CODES[serveError.code], metadata, details, serveError.cause);
}

/**
 * As toConnectError; but where the call's own signal has aborted, its reason (deadline, shutdown, the client's cancel) is
 * the error, whatever form the abort took on its way back.
 */
export function callError(error: unknown, signal: AbortSignal): ConnectError {
  if (!signal.aborted) return toConnectError(error);
  const reason: unknown = signal.reason;
  if (reason instanceof ConnectError || reason instanceof ServeError) return toConnectError(reason);
  return new ConnectError("the call was cancelled", Code.Canceled);
}
