import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import type { Limits } from "../../config/limits.ts";
import type { DescriptorBound } from "../descriptor-bound.ts";

/** How long a peer may take to read the last frames of a session that is over, and to close its side. */
const LINGER_MS = 1000;

/** Keeps the connections of a gRPC server within bounds: their number, a prompt preface, signs of life, a prompt end. */
export class ConnectionGuard {
  /** Undefined until the preface has come. */
  private readonly sessions = new Map<Socket, ServerHttp2Session | undefined>();
  private readonly prefaces = new Map<Socket, ReturnType<typeof setTimeout>>();

  constructor(
    private readonly limits: Limits,
    private readonly descriptors: Pick<DescriptorBound, "crowded">,
  ) {}

  /** Takes on a new connection. False where there are too many: it has been dropped. */
  admit(socket: Socket): boolean {
    // Errors end the session's streams, and those tell the calls.
    socket.on("error", () => {});
    if (this.sessions.size >= this.limits.maxGrpcConnections || this.descriptors.crowded) {
      socket.destroy();
      return false;
    }
    this.sessions.set(socket, undefined);
    this.prefaces.set(
      socket,
      setTimeout(() => this.end(socket), this.limits.grpcPrefaceMs),
    );
    socket.once("close", () => {
      this.endPreface(socket);
      this.sessions.delete(socket);
    });
    return true;
  }

  /**
   * Watches over a connection's session. One that ends or is destroyed only closes our side of its socket; one whose peer
   * never closes the other would be held, and keep the server open, for ever.
   */
  watch(socket: Socket, session: ServerHttp2Session): void {
    this.sessions.set(socket, session);
    session.on("error", () => {});
    session.once("remoteSettings", () => this.endPreface(socket));
    let alive = true;
    const keepAlive = setInterval(() => {
      if (session.destroyed) return;
      // One that is only closed has calls that still run: it is to be watched until they end.
      if (!alive) return session.destroy();
      alive = false;
      session.ping((error) => {
        alive = error === null || error === undefined;
      });
    }, this.limits.grpcKeepAliveMs);
    session.on("close", () => {
      clearInterval(keepAlive);
      this.linger(socket);
    });
  }

  /** Closes a connection whose last bytes have been written. */
  linger(socket: Socket): void {
    this.endPreface(socket);
    if (socket.destroyed) return;
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once("close", () => clearTimeout(timer));
  }

  /** Asks every client to open no more streams; a connection closes with its last one. */
  goAway(): void {
    for (const [socket, session] of this.sessions) {
      if (session !== undefined) session.close();
      // A bare TCP connection, such as a port check's, would only be lingered for.
      else socket.destroy();
    }
  }

  destroyAll(): void {
    for (const [socket, session] of this.sessions) {
      session?.destroy();
      socket.destroy();
    }
  }

  private end(socket: Socket): void {
    const session = this.sessions.get(socket);
    if (session === undefined) socket.destroy();
    else session.destroy();
  }

  private endPreface(socket: Socket): void {
    clearTimeout(this.prefaces.get(socket));
    this.prefaces.delete(socket);
  }
}
