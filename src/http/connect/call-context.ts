import { createContextKey } from "@connectrpc/connect";

/** The tenant of a call, set by the gate. */
export const TENANT = createContextKey("", { description: "tenant" });

/** The HTTP request that a call came in, where its server follows requests too. */
export interface CallOrigin {
  readonly requestId: string;
  /** Set once the call has written the access log's line, or will: one of the two does. */
  accessLogged: boolean;
  /** Set for a streamed response: resolves at its end. */
  streamEnded: Promise<unknown> | undefined;
  /** Called before the last byte is handed over: the connection is the server's again after it. */
  release(): void;
  /** The client's IP address. */
  clientAddress(): string;
  /** Part of the request's body may still be on its way; false once it has been read to its end. */
  bodyPending: boolean;
}

export const CALL_ORIGIN = createContextKey<CallOrigin | undefined>(undefined, { description: "call origin" });

/** Gives the client's IP address, where the transport is not a request of the HTTP server. */
export const CLIENT_ADDRESS = createContextKey<() => string>(() => "", { description: "client address" });
