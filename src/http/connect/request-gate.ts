import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { ServeError } from "../../core/errors.ts";
import { codeName, toConnectError } from "./connect-errors.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/** The tenant of a call, set by the gate. */
export const TENANT = createContextKey("", { description: "tenant" });

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
      const method = `${context.service.typeName}/${context.method.name}`;
      deps.logger.info("rpc", { method, protocol: context.protocolName, code: codeName(refusal.code) });
      throw refusal;
    }
  };
}
