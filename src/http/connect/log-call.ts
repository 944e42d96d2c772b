import { Code, type ConnectError, type HandlerContext } from "@connectrpc/connect";
import { ErrorDetailSchema } from "../../gen/scalellm/v1/inference_pb.ts";
import type { AnswerPace } from "../answer-pace.ts";
import { CALL_ORIGIN, TENANT } from "./call-context.ts";
import { codeName } from "./connect-errors.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/** How a call ends that was not turned away. */
const SERVED: ReadonlySet<Code> = new Set([Code.Canceled, Code.DeadlineExceeded]);

function reasonOf(failure: ConnectError): string | undefined {
  return failure.findDetails(ErrorDetailSchema)[0]?.reason || undefined;
}

/** Writes a call's line in the access log. `ms`: how long it took, and how its answer came, where it began at all. */
export function logCall(
  context: HandlerContext,
  { logger, refusals }: Pick<RpcDeps, "logger" | "refusals">,
  { failure, ms, pace }: { failure: ConnectError | undefined; ms?: number; pace?: AnswerPace },
): void {
  const origin = context.values.get(CALL_ORIGIN);
  const tenant = context.values.get(TENANT);
  const fields = {
    ...(origin === undefined ? {} : { requestId: origin.requestId }),
    method: `${context.service.typeName}/${context.method.name}`,
    protocol: context.protocolName,
    code: failure === undefined ? "ok" : codeName(failure.code),
    ...(ms === undefined ? {} : { ms: Math.round(ms * 10) / 10 }),
    ...pace?.fields(),
    ...(tenant === "" ? {} : { tenant }),
    ...(failure === undefined ? {} : { error: failure.rawMessage, reason: reasonOf(failure) }),
  };
  if (failure?.code === Code.Internal) logger.error("rpc", { ...fields, cause: failure.cause });
  else if (failure === undefined || SERVED.has(failure.code)) logger.info("rpc", fields);
  else refusals.write("rpc", fields);
}
