import type { Clock } from "../core/clock.ts";
import { ServeError } from "../core/errors.ts";
import { AnswerPace } from "./answer-pace.ts";
import type { Server } from "./listener.ts";
import type { TurnQueue } from "./turn-queue.ts";

/** What of a Bun server concerns one request's connection. */
export type ConnectionServer = Pick<Server, "timeout" | "requestIP">;

/** One HTTP request while it is being answered. */
export class RequestContext {
  /** The client's x-request-id, or our own; not unique when clients choose it. */
  readonly requestId: string;
  readonly arrivedMs: number;
  /** The server's, which its streams share. */
  readonly turns: TurnQueue;
  /** Set once the key was checked, with whose it is. */
  authenticated = false;
  tenant = "";
  /** What the access log says beside the usual: model, token counts. */
  readonly logged: Record<string, unknown> = {};
  /** Sees every event of the answer. */
  readonly pace: AnswerPace;
  /** Set by an endpoint whose response goes on after it returned: resolves at its end, with the error that ended it. */
  streamEnded: Promise<unknown> | undefined;
  /** Set by the handler: ends the work's share of the request. A stream calls it before its last byte, later has no effect. */
  release: () => void = () => {};
  /** Part of the request's body may still be on its way. Whoever reads a body to its end says that it is not. */
  bodyPending: boolean;
  /** Set by an endpoint that writes the access log's line itself. */
  accessLogged = false;
  private readonly aborter = new AbortController();
  private readonly unlink: () => void;

  constructor(
    readonly request: Request,
    private readonly options: {
      requestId: string;
      arrivedMs: number;
      clock: Clock;
      stopSignal: AbortSignal;
      turns: TurnQueue;
      server: ConnectionServer;
    },
  ) {
    this.requestId = options.requestId;
    this.arrivedMs = options.arrivedMs;
    this.turns = options.turns;
    this.bodyPending = hasBody(request);
    this.pace = new AnswerPace(options.clock, options.arrivedMs);
    const onDisconnect = () => this.abort(new ServeError("cancelled", "The client went away."));
    const onStop = () => this.abort(options.stopSignal.reason);
    request.signal.addEventListener("abort", onDisconnect);
    options.stopSignal.addEventListener("abort", onStop);
    this.unlink = () => {
      request.signal.removeEventListener("abort", onDisconnect);
      options.stopSignal.removeEventListener("abort", onStop);
    };
  }

  /** The client's IP address; "" where it has gone. */
  clientAddress(): string {
    return this.options.server.requestIP(this.request)?.address ?? "";
  }

  /** Sets the connection's idle time in seconds; 0 is none. */
  setIdleTimeout(seconds: number): void {
    this.options.server.timeout(this.request, seconds);
  }

  /** Aborted when the client goes away or the server stops at once; its reason is the ServeError to answer with. */
  get signal(): AbortSignal {
    return this.aborter.signal;
  }

  abort(reason: unknown): void {
    this.aborter.abort(reason);
  }

  /** The request is over: nothing holds on to it any more. */
  close(): void {
    this.unlink();
  }
}

function hasBody({ headers }: Request): boolean {
  return Number(headers.get("content-length") ?? 0) > 0 || headers.has("transfer-encoding");
}

/** The client's request id if it is printable and short enough to copy into logs and a header. */
export function acceptedRequestId(request: Request, maxChars: number): string | undefined {
  const id = request.headers.get("x-request-id");
  return id !== null && id.length <= maxChars && /^[\x21-\x7e]+$/.test(id) ? id : undefined;
}

/** Unguessable and unique: `chatcmpl-0123...`. */
export function uniqueId(prefix: string): string {
  return prefix + crypto.randomUUID().replaceAll("-", "");
}
