import type { Limits } from "../../config/limits.ts";
import type { Clock } from "../../core/clock.ts";
import type { Gateway } from "../../gateway/gateway.ts";

/** What the RPC services need of the server. */
export interface RpcDeps {
  readonly gateway: Gateway;
  readonly authentication: RpcAuthentication;
  readonly clock: Clock;
  /** Told of every error a client sees only as "internal". */
  readonly reportError: (error: unknown) => void;
  readonly limits: Limits;
}

export interface RpcAuthentication {
  /** Reads `authorization` or `x-api-key`. Throws ServeError unauthenticated. */
  authenticate(headers: Headers): { readonly tenant: string };
}
