import { type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Stream } from "node:http2";
import { createServer, type Socket } from "node:net";
import type { Limits } from "../../config/limits.ts";
import type { Clock } from "../../core/clock.ts";
import type { DescriptorBound } from "../descriptor-bound.ts";
import type { TurnBudget } from "../turn-budget.ts";
import { ConnectionGuard } from "./connection-guard.ts";
import { FrameGuard } from "./frame-guard.ts";
import { GuardedSocket } from "./guarded-socket.ts";
import { readPreface } from "./read-preface.ts";

/** A session would count empty DATA frames and refused streams over all its life; FrameGuard bounds their rate. */
const NO_LIMIT = 2 ** 32 - 1;

export interface GrpcListener {
  readonly port: number;
  /** Stops listening and asks every client to open no more streams; resolves when every connection has closed. */
  close(): Promise<void>;
  /** Cuts every connection. */
  destroyAll(): void;
}

export interface ListenOptions {
  readonly address: { readonly hostname: string; readonly port: number };
  readonly limits: Limits;
  readonly clock: Clock;
  readonly turns: TurnBudget;
  readonly descriptors: Pick<DescriptorBound, "crowded">;
  /** A request has begun. Must not throw. */
  readonly onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;
  /** The bytes that answer a client of another protocol, given what it sent first; undefined: none. */
  readonly otherProtocol: (received: Buffer) => string | undefined;
}

/** HTTP/2 over cleartext TCP, each connection behind its guards. Rejects when the address cannot be bound. */
export async function listenGrpc({
  address,
  limits,
  clock,
  turns,
  descriptors,
  onStream,
  otherProtocol,
}: ListenOptions): Promise<GrpcListener> {
  const guard = new ConnectionGuard(limits, descriptors);
  const settings = {
    maxConcurrentStreams: limits.maxGrpcStreams,
    maxHeaderListSize: limits.maxGrpcHeaderBytes,
    initialWindowSize: limits.grpcStreamWindowBytes,
  };
  const serve = (socket: Socket, early: Buffer): void => {
    const guarded = new GuardedSocket(socket, new FrameGuard(limits, clock), turns, early);
    const session = performServerHandshake(guarded, {
      settings,
      maxSessionInvalidFrames: NO_LIMIT,
      maxSessionRejectedStreams: NO_LIMIT,
    });
    // A session that ends over an error forgets the GOAWAY that names it, unless it writes before: "drain" makes it.
    const destroy = session.destroy.bind(session);
    session.destroy = (...reason) => {
      guarded.emit("drain");
      destroy(...reason);
    };
    session.on("stream", onStream);
    guard.watch(socket, session);
  };
  const server = createServer({ noDelay: true }, (socket) => {
    if (!guard.admit(socket)) return;
    readPreface(socket, {
      http2: (early) => serve(socket, early),
      other: (received) => {
        socket.end(otherProtocol(received) ?? "");
        guard.linger(socket);
      },
    });
  });
  const closed = new Promise<void>((resolve) => server.once("close", resolve));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.hostname, resolve);
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : address.port,
    close() {
      server.close();
      guard.goAway();
      return closed;
    },
    destroyAll: () => guard.destroyAll(),
  };
}
