import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { toConnectError } from "./connect-errors.ts";
import type { RpcDeps } from "./rpc-deps.ts";

/** The tenant of a call, set by the gate. */
export const TENANT = createContextKey("", { description: "tenant" });

/** Authenticates a call on its headers, before a byte of its body is read. Services named in `open` need no key. */
export function createRequestGate(deps: RpcDeps, open: readonly string[] = []): (context: HandlerContext) => void {
  return (context) => {
    if (open.includes(context.service.typeName)) return;
    try {
      context.values.set(TENANT, deps.authentication.authenticate(context.requestHeader).tenant);
    } catch (error) {
      throw toConnectError(error, deps.reportError);
    }
  };
}
