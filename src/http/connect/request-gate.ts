import { Code, type ConnectError, type HandlerContext } from "@connectrpc/connect";
import { ServeError } from "../../core/errors.ts";
import { CALL_ORIGIN, CLIENT_ADDRESS, TENANT } from "./call-context.ts";
import { toConnectError } from "./connect-errors.ts";
import { logCall } from "./log-call.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/**
 * Admits a call by its headers, before a byte of its body is read: not while draining, not for a web page that has no
 * business here, and with a valid key. Services named in `open` need none of it. A refusal for the key may have to wait.
 */
export function createRequestGate(
  deps: RpcDeps,
  open: readonly string[] = [],
): (context: HandlerContext) => void | Promise<void> {
  return (context) => {
    if (open.includes(context.service.typeName)) return undefined;
    try {
      if (deps.lifecycle.draining) {
        throw new ServeError("unavailable", "The server is shutting down.", { reason: "shutting_down" });
      }
      deps.browserGuard.check(context.requestHeader, context.requestMethod);
      context.values.set(TENANT, deps.authentication.authenticate(context.requestHeader).tenant);
      return undefined;
    } catch (error) {
      const refusal = toConnectError(error);
      const origin = context.values.get(CALL_ORIGIN);
      if (origin !== undefined) origin.accessLogged = true;
      logCall(context, deps, { failure: refusal });
      if (refusal.code !== Code.Unauthenticated) throw refusal;
      const address = origin?.clientAddress() ?? context.values.get(CLIENT_ADDRESS)();
      return refuseLater(deps.failedAttempts.refused(address, context.signal), refusal);
    }
  };
}

async function refuseLater(held: Promise<void> | undefined, refusal: ConnectError): Promise<never> {
  await held;
  throw refusal;
}
