import type { HandlerContext } from "@connectrpc/connect";
import { ServeError } from "../../core/errors.ts";
import { CALL_ORIGIN, TENANT } from "./call-context.ts";
import { toConnectError } from "./connect-errors.ts";
import { logCall } from "./log-call.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/** Admits a call by its headers, before a byte of its body is read: not while draining, and with a valid key. Services named in `open` need no key. */
export function createRequestGate(deps: RpcDeps, open: readonly string[] = []): (context: HandlerContext) => void {
  return (context) => {
    if (open.includes(context.service.typeName)) return;
    try {
      if (deps.lifecycle.draining) {
        throw new ServeError("unavailable", "The server is shutting down.", { reason: "shutting_down" });
      }
      context.values.set(TENANT, deps.authentication.authenticate(context.requestHeader).tenant);
    } catch (error) {
      const refusal = toConnectError(error);
      const origin = context.values.get(CALL_ORIGIN);
      if (origin !== undefined) origin.accessLogged = true;
      logCall(context, deps, { failure: refusal });
      throw refusal;
    }
  };
}
