import { Code, type ConnectError, type HandlerContext } from "@connectrpc/connect";
import { callError, codeName } from "./connect-errors.ts";
import { TENANT } from "./request-gate.ts";
import type { RpcDeps } from "./rpc-deps.ts";

export interface ObservedCall {
  /** Notes how a call failed, and returns the error to answer with. */
  failed(error: unknown): ConnectError;
  /** To be called at the call's end, whatever that was: counts it and writes its access log line. */
  end(): void;
}

/** Follows one call from here to its end, for the lifecycle (a graceful stop waits for it) and the access log. */
export function observeCall(context: HandlerContext, deps: RpcDeps): ObservedCall {
  const { clock, logger, lifecycle } = deps;
  const finish = lifecycle.begin();
  const startedMs = clock.nowMs();
  let failure: ConnectError | undefined;
  return {
    failed(error) {
      failure = callError(error, context.signal);
      return failure;
    },
    end() {
      finish();
      const tenant = context.values.get(TENANT);
      const fields = {
        method: `${context.service.typeName}/${context.method.name}`,
        protocol: context.protocolName,
        code: failure === undefined ? "ok" : codeName(failure.code),
        ms: Math.round((clock.nowMs() - startedMs) * 10) / 10,
        ...(tenant === "" ? {} : { tenant }),
        ...(failure === undefined ? {} : { error: failure.rawMessage }),
      };
      if (failure?.code === Code.Internal) logger.error("rpc", { ...fields, cause: failure.cause });
      else logger.info("rpc", fields);
    },
  };
}
