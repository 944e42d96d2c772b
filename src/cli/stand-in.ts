import { ServeError } from "../core/errors.ts";
import { errorResponse } from "../http/error-response.ts";

export interface StandIn {
  /** Closes the port; requests that came are answered. */
  stop(): Promise<void>;
}

/**
 * Answers on a server's port while none runs there, so that clients are told when to come again instead of being refused:
 * Bun cannot listen on a socket that another process opened, so the port itself cannot be handed on. It is shared with the
 * server that comes next (SO_REUSEPORT) until that one listens. Undefined where the port is taken.
 */
export function startStandIn(host: string, port: number, retryAfterS: number): StandIn | undefined {
  const answer = () => {
    const error = new ServeError("unavailable", "The server is starting again.", { reason: "restarting", retryAfterS });
    const response = errorResponse(error);
    response.headers.set("connection", "close");
    return response;
  };
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      reusePort: true,
      http2: true,
      development: false,
      fetch: answer,
    } as Parameters<typeof Bun.serve>[0]);
    return { stop: () => server.stop() };
  } catch {
    return undefined;
  }
}
