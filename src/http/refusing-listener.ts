import type { Socket, TCPSocketListener } from "bun";
import { ServeError } from "../core/errors.ts";
import { errorBody, errorResponse } from "./error-response.ts";
import { uniqueId } from "./request-context.ts";

/** Refused connections that may wait for their client to read the answer; the oldest makes room. */
const MAX_LINGERING = 4;
/** A client that has not read the answer by then will not. */
const LINGER_S = 1;

export const NO_ROOM = "too_many_connections";

/** The answer to a connection, or a request, for which there is no room. */
export function noRoomError(): ServeError {
  return new ServeError("unavailable", "The server has as many connections as it can hold.", {
    reason: NO_ROOM,
  });
}

/**
 * Takes a server's place at its address while there is no room: answers each connection with 503 as soon as it comes, and
 * closes it. It needs few descriptors however many come.
 */
export class RefusingListener {
  private readonly lingering = new Set<Socket>();
  private readonly listener: TCPSocketListener;

  /** Throws when the address is taken. */
  constructor(address: { hostname: string; port: number }, onRefused: (requestId: string) => void) {
    const refuse = (socket: Socket) => {
      const requestId = uniqueId("req-");
      socket.timeout(LINGER_S);
      socket.end(refusal(requestId));
      this.lingering.add(socket);
      if (this.lingering.size > MAX_LINGERING) {
        const [oldest] = this.lingering;
        this.lingering.delete(oldest!);
        oldest!.terminate();
      }
      onRefused(requestId);
    };
    this.listener = Bun.listen({
      ...address,
      socket: {
        open: refuse,
        // What was asked no longer matters.
        data() {},
        timeout: (socket) => socket.terminate(),
        close: (socket) => void this.lingering.delete(socket),
        error() {},
      },
    });
  }

  stop(): void {
    this.listener.stop(true);
  }
}

function refusal(requestId: string): string {
  const error = noRoomError();
  const { headers } = errorResponse(error);
  const body = JSON.stringify(errorBody(error));
  return [
    "HTTP/1.1 503 Service Unavailable",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    `retry-after: ${headers.get("retry-after")}`,
    `x-request-id: ${requestId}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
}
