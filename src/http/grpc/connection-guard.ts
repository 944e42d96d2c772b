import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import type { Limits } from "../../config/limits.ts";

/** How long a peer may take to read the last frames of a session that is over, and to close its side. */
const LINGER_MS = 1000;

/** Keeps the connections of a gRPC server within bounds: their number, a prompt preface, signs of life, a prompt end. */
export class ConnectionGuard {
  private readonly connections = new Map<Socket, ServerHttp2Session>();
  /** Whose preface has come: a peer of HTTP/2, with which an end is agreed on. */
  private readonly greeted = new WeakSet<ServerHttp2Session>();

  constructor(private readonly limits: Limits) {}

  /**
   * Takes on a new connection, or drops it where there are too many. A session that ends or is destroyed only closes our
   * side of its socket; one whose peer never closes the other would be held, and keep the server open, for ever.
   */
  add(session: ServerHttp2Session, socket: Socket): void {
    // The connection's errors end its streams, and those tell the calls.
    session.on("error", () => {});
    if (this.connections.size >= this.limits.maxGrpcConnections) {
      session.destroy();
      socket.destroy();
      return;
    }
    this.connections.set(socket, session);
    let linger: ReturnType<typeof setTimeout> | undefined;
    socket.once("close", () => {
      clearTimeout(linger);
      this.connections.delete(socket);
    });
    const preface = setTimeout(() => session.destroy(), this.limits.grpcPrefaceMs);
    session.once("remoteSettings", () => {
      clearTimeout(preface);
      this.greeted.add(session);
    });
    let alive = true;
    const keepAlive = setInterval(() => {
      if (!alive) return session.destroy();
      alive = false;
      session.ping((error) => {
        alive = error === null || error === undefined;
      });
    }, this.limits.grpcKeepAliveMs);
    session.on("close", () => {
      clearTimeout(preface);
      clearInterval(keepAlive);
      if (!socket.destroyed) linger = setTimeout(() => socket.destroy(), LINGER_MS);
    });
  }

  /** Asks every client to open no more streams; a connection closes with its last one. */
  goAway(): void {
    for (const [socket, session] of this.connections) {
      session.close();
      // A bare TCP connection, such as a port check's, would only be lingered for.
      if (!this.greeted.has(session)) socket.destroy();
    }
  }

  destroyAll(): void {
    for (const [socket, session] of this.connections) {
      session.destroy();
      socket.destroy();
    }
  }
}
