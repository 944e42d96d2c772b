import type { Http2Session, ServerHttp2Session } from "node:http2";
import type { Limits } from "../../config/limits.ts";

/** Keeps the connections of a gRPC server within bounds: their number, a prompt preface, and signs of life. */
export class ConnectionGuard {
  private readonly sessions = new Set<Http2Session>();

  constructor(private readonly limits: Limits) {}

  /** Takes on a new connection, or drops it where there are too many. */
  add(session: ServerHttp2Session): void {
    // The connection's errors end its streams, and those tell the calls.
    session.on("error", () => {});
    if (this.sessions.size >= this.limits.maxGrpcConnections) {
      session.destroy();
      return;
    }
    this.sessions.add(session);
    const preface = setTimeout(() => session.destroy(), this.limits.grpcPrefaceMs);
    session.once("remoteSettings", () => clearTimeout(preface));
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
      this.sessions.delete(session);
    });
  }

  /** Asks every client to open no more streams; a connection closes with its last one. */
  goAway(): void {
    for (const session of this.sessions) session.close();
  }

  destroyAll(): void {
    for (const session of this.sessions) session.destroy();
  }
}
