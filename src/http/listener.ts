import { closeSync, openSync } from "node:fs";
import type { Limits } from "../config/limits.ts";
import type { Logger } from "../metrics/logger.ts";
import type { DescriptorBound } from "./descriptor-bound.ts";
import { RefusingListener } from "./refusing-listener.ts";

export type Server = Bun.Server<undefined>;

export interface ListenerOptions {
  readonly hostname: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** The port may be shared with another server of this user: a stand-in that is about to leave it. */
  readonly reusePort: boolean;
  readonly limits: Pick<Limits, "idleConnectionS" | "descriptorPollMs">;
  readonly descriptors: DescriptorBound;
  readonly logger: Logger;
  fetch(request: Request, server: Server): Response | Promise<Response>;
  /** The answer where `fetch` rejects. */
  failed(error: unknown): Response;
  /** A connection was answered with 503 for want of room. */
  refused(requestId: string): void;
}

/** Descriptors kept for the time when the table is full: refusing needs a few. */
const SPARE_DESCRIPTORS = 8;
/** Where so many of the connections have a request that runs, closing others makes little room. */
const BUSY_SHARE = 3 / 4;
/** A pause lasts at least so many looks, or a flood would have one begin and end with each of them. */
const LEAST_LOOKS_PAUSED = 5;

/**
 * The HTTP server's sockets. A Bun server tells nothing of a connection before its first request, accepts without bound,
 * and spins at the limit of descriptors. So their number is looked at a few times a second: where it is beyond the bound,
 * idle connections are closed; where that is not enough (half-sent heads, slow bodies, streams), the server stops to
 * listen, and a refusing one stands in until there is room. What runs goes on meanwhile.
 */
export class Listener {
  readonly port: number;
  readonly url: string;
  private server: Server;
  /** No longer listening, but with requests that still run. */
  private readonly ending = new Set<Server>();
  /** Looks since the server stopped to listen; undefined while it does. */
  private looksPaused: number | undefined;
  /** A request was answered with 503 for want of room since the last look: its connection makes room. */
  private turnedAway = false;
  private refusing: RefusingListener | undefined;
  private spares: number[] = [];
  /** The table was full at the last look, and nobody was turned away before it. */
  private stuck = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** Throws when the address is taken. */
  constructor(private readonly options: ListenerOptions) {
    this.server = this.listen(options.port);
    this.port = this.server.port!;
    this.url = this.server.url.href.replace(/\/$/, "");
    this.reserve();
    this.lookLater();
  }

  /** Requests whose last byte has not been sent. */
  get pendingRequests(): number {
    let count = this.server.pendingRequests;
    for (const server of this.ending) count += server.pendingRequests;
    return count;
  }

  /**
   * False where a request that just came has no room, since requests fill it: it must be answered with 503. Where idle
   * connections and half-sent heads do, look() makes room, and the request is served.
   */
  hasRoom(): boolean {
    const { descriptors } = this.options;
    const full = this.pendingRequests > descriptors.mostConnections * BUSY_SHARE && descriptors.crowded;
    if (full) this.turnedAway = true;
    return !full;
  }

  /** Closes every connection. */
  async stop(): Promise<void> {
    clearTimeout(this.timer);
    this.refusing?.stop();
    this.release();
    await Promise.all([this.server, ...this.ending].map((server) => server.stop(true)));
  }

  private listen(port: number): Server {
    const { hostname, reusePort, limits, fetch, failed } = this.options;
    return Bun.serve({
      hostname,
      port,
      // Cleartext HTTP/2 beside HTTP/1.1, for clients that multiplex.
      http2: true,
      // Between requests; during one the handler switches it off.
      idleTimeout: limits.idleConnectionS,
      // Bodies are bounded while they are read, so that the refusal is an API error.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      // Where it is not asked for, a second server must not share a taken port, and half of the requests.
      reusePort,
      development: false,
      fetch,
      error: failed,
    });
  }

  /** Not at fixed times: between two looks the loop must have had its turns. */
  private lookLater(): void {
    this.timer = setTimeout(() => {
      this.look();
      this.lookLater();
    }, this.options.limits.descriptorPollMs);
    this.timer.unref();
  }

  private look(): void {
    const { descriptors } = this.options;
    if (this.looksPaused !== undefined) {
      if (++this.looksPaused >= LEAST_LOOKS_PAUSED && descriptors.relaxed) this.resume();
      return;
    }
    if (descriptors.crowded) this.server.closeIdleConnections();
    const isStuck = descriptors.crowded && !this.turnedAway;
    if (isStuck && this.stuck) this.pause();
    this.stuck = isStuck;
    this.turnedAway = false;
  }

  private pause(): void {
    const { hostname, descriptors, logger, refused } = this.options;
    const { port, server } = this;
    logger.warn("no room for more connections: new ones get 503", { most: descriptors.mostConnections });
    this.looksPaused = 0;
    this.ending.add(server);
    void server.stop(false).then(() => this.ending.delete(server));
    this.release();
    try {
      this.refusing = new RefusingListener({ hostname, port }, refused);
    } catch (error) {
      logger.warn("new connections cannot be answered; they are refused without an answer", { cause: error });
    }
  }

  private resume(): void {
    const { logger } = this.options;
    this.refusing?.stop();
    this.refusing = undefined;
    try {
      this.server = this.listen(this.port);
    } catch (error) {
      // Tried again with the next look.
      logger.error("cannot listen again", { cause: error });
      return;
    }
    this.looksPaused = undefined;
    this.reserve();
    logger.info("room for connections again");
  }

  private reserve(): void {
    this.spares = Array.from({ length: SPARE_DESCRIPTORS }, () => openSync("/dev/null", "r"));
  }

  private release(): void {
    for (const descriptor of this.spares.splice(0)) closeSync(descriptor);
  }
}
