import { ServeError, toServeError } from "../core/errors.ts";
import { Cors } from "./cors.ts";
import { errorResponse, httpStatus } from "./error-response.ts";
import type { HttpDeps } from "./http-deps.ts";
import { grpcRefusal, isNativeGrpc, wrongPortError } from "./native-grpc.ts";
import { NO_ROOM, noRoomError } from "./refusing-listener.ts";
import { requestArrived } from "./request-arrived.ts";
import { acceptedRequestId, type ConnectionServer, RequestContext, uniqueId } from "./request-context.ts";
import { hasSeveralHosts, requestPath, settleUrl } from "./request-path.ts";
import { TurnQueue } from "./turn-queue.ts";

export type Endpoint = (context: RequestContext, deps: HttpDeps) => Response | Promise<Response>;

/** Probes answer without a key. */
const OPEN_PATHS = new Set(["/health", "/ready"]);
/** What operators look at while a server drains. */
const OPERATOR_PATHS = new Set([...OPEN_PATHS, "/metrics", "/version"]);

/**
 * What every request goes through around its endpoint: request id, draining, CORS, the key, error mapping, counting and
 * the access log. admit() runs before routing and before a byte of the body is read; serve() or refuse() then answers.
 */
export class RequestHandler {
  private readonly cors: Cors;
  private readonly turns = new TurnQueue();
  private readonly admitted = new WeakMap<Request, RequestContext>();

  constructor(
    private readonly deps: HttpDeps,
    /** Paths and routes that check the key themselves. */
    private readonly authenticatesItself: (path: string) => boolean,
  ) {
    this.cors = new Cors(deps.corsOrigins);
  }

  /**
   * Undefined when the request may go on; else its answer, which may have to wait. Never throws. `hasRoom`: whether its
   * connection is within the bound.
   */
  admit(request: Request, server: ConnectionServer, hasRoom = true): Response | Promise<Response> | undefined {
    const { deps } = this;
    const hostIsGood = settleUrl(request);
    const path = requestPath(request);
    const context = new RequestContext(request, {
      requestId: acceptedRequestId(request, deps.limits.maxRequestIdChars) ?? uniqueId("req-"),
      arrivedMs: deps.clock.nowMs(),
      clock: deps.clock,
      stopSignal: deps.lifecycle.stopSignal,
      turns: this.turns,
      server,
    });
    this.admitted.set(request, context);
    try {
      if (!hasRoom) throw noRoomError();
      if (isNativeGrpc(request.headers.get("content-type") ?? "")) {
        const error = wrongPortError(deps.grpcPort?.());
        return this.finished(context, "refused", grpcRefusal(error), error);
      }
      if (hasSeveralHosts(request)) throw badHost("A request must have one Host header.");
      // Probes answer under any name, as they do without a key.
      if (!OPEN_PATHS.has(path)) {
        if (!hostIsGood) throw badHost("The Host header names no host.");
        if (!this.authenticatesItself(path) || request.method === "OPTIONS") this.checkBrowser(request);
      }
      const preflight = this.cors.preflight(request);
      if (preflight !== undefined) return this.finished(context, "preflight", preflight, undefined);
      if (deps.lifecycle.draining && !OPERATOR_PATHS.has(path)) {
        throw new ServeError("unavailable", "The server is shutting down.");
      }
      this.authenticate(context, path);
      return undefined;
    } catch (error) {
      const answer = () => this.failed(context, "refused", error);
      if (!(error instanceof ServeError) || error.code !== "unauthenticated") return answer();
      const held = deps.failedAttempts.refused(context.clientAddress(), request.signal);
      return held === undefined ? answer() : held.then(answer);
    }
  }

  /** Runs an endpoint. Never throws: what it throws becomes the response. */
  async serve(request: Request, route: string, endpoint: Endpoint): Promise<Response> {
    const context = this.contextOf(request);
    const end = this.deps.lifecycle.begin();
    // A stream may be silent for long while it is queued; the deadlines are ours from here.
    context.setIdleTimeout(0);
    const release = () => {
      const { unreadBodyS, idleConnectionS } = this.deps.limits;
      context.setIdleTimeout(context.bodyPending ? unreadBodyS : idleConnectionS);
      end();
    };
    context.release = release;
    try {
      // The router reads the path its own way; whatever admit() read, what is served has the key that its route asks for.
      this.authenticate(context, route);
      const response = await endpoint(context, this.deps);
      if (context.streamEnded === undefined) {
        release();
        return this.finished(context, route, response, undefined);
      }
      this.mark(context, response);
      const ended = (error: unknown) => {
        release();
        this.record(context, route, response.status, error);
      };
      // A stream that did not end as it should has ended, too.
      void context.streamEnded.then(ended, ended);
      return response;
    } catch (error) {
      release();
      // What an abort makes a layer throw is its own affair; the reason is what happened.
      return this.failed(context, route, context.signal.aborted ? context.signal.reason : error);
    }
  }

  /** Resolves when the rest of a request that will be refused has come, or has had its time. */
  async arrived(request: Request): Promise<void> {
    if (await requestArrived(request, this.deps.limits)) this.contextOf(request).bodyPending = false;
  }

  refuse(request: Request, error: ServeError, headers: Record<string, string> = {}): Response {
    const response = this.failed(this.contextOf(request), "unmatched", error);
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    return response;
  }

  /** The answer to a request that none of the above could give one. */
  lastResort(error: unknown): Response {
    const requestId = uniqueId("req-");
    this.deps.metrics.countHttp("unmatched", 500);
    this.deps.logger.error("request", { requestId, route: "unmatched", status: 500, cause: error });
    const response = errorResponse(error);
    response.headers.set("x-request-id", requestId);
    return response;
  }

  /** Counts and logs a connection that was answered with 503 without being read. */
  refusedConnection(requestId: string): void {
    this.deps.metrics.countHttp("refused", 503);
    this.deps.refusals.write("request", { requestId, route: "refused", status: 503, error: noRoomError().message });
  }

  private checkBrowser(request: Request): void {
    this.deps.browserGuard.check(request.headers, request.method);
  }

  /** Throws ServeError unauthenticated where `path` asks for a key that the request does not have. */
  private authenticate(context: RequestContext, path: string): void {
    if (context.authenticated || OPEN_PATHS.has(path) || this.authenticatesItself(path)) return;
    context.tenant = this.deps.authentication.authenticate(context.request.headers).tenant;
    context.authenticated = true;
  }

  private contextOf(request: Request): RequestContext {
    const context = this.admitted.get(request);
    if (context === undefined) throw new Error("a request was routed before it was admitted");
    return context;
  }

  private failed(context: RequestContext, route: string, error: unknown): Response {
    return this.finished(context, route, errorResponse(error), error);
  }

  /** The connection of a refused request is kept only if what is left of its body is worth reading past. */
  private mustClose(request: Request, status: number, error: unknown): boolean {
    if (status === 503 && this.deps.lifecycle.draining) return true;
    if (status === 408 || (error instanceof ServeError && error.reason === NO_ROOM)) return true;
    const declared = request.headers.get("content-length");
    if (declared !== null) return Number(declared) > this.deps.limits.maxDiscardedBodyBytes;
    return request.headers.has("transfer-encoding") && (status === 401 || status === 413);
  }

  private finished(context: RequestContext, route: string, response: Response, error: unknown): Response {
    const { request } = context;
    if (response.status >= 400 && this.mustClose(request, response.status, error)) {
      response.headers.set("connection", "close");
    }
    if (context.bodyPending) context.setIdleTimeout(this.deps.limits.unreadBodyS);
    this.mark(context, response);
    this.record(context, route, response.status, error);
    return response;
  }

  private mark(context: RequestContext, response: Response): void {
    response.headers.set("x-request-id", context.requestId);
    this.cors.mark(context.request, response.headers);
  }

  private record(context: RequestContext, route: string, status: number, error: unknown): void {
    context.close();
    const { logger, metrics, clock } = this.deps;
    const serveError = error === undefined ? undefined : toServeError(error);
    // A stream that failed has status 200 on the wire; what counts is how it ended.
    const code = serveError === undefined ? status : httpStatus(serveError);
    metrics.countHttp(route, code);
    if (context.accessLogged) return;
    const fields = {
      requestId: context.requestId,
      method: context.request.method,
      route,
      status: code,
      ms: Math.round((clock.nowMs() - context.arrivedMs) * 10) / 10,
      ...(context.tenant === "" ? {} : { tenant: context.tenant }),
      ...context.logged,
      ...context.pace.fields(),
      ...(serveError === undefined ? {} : { error: serveError.message, reason: serveError.reason }),
    };
    if (serveError?.code === "internal") logger.error("request", { ...fields, cause: serveError.cause ?? serveError });
    else if (OPERATOR_PATHS.has(route)) logger.debug("request", fields);
    else if (isRefusal(code)) this.deps.refusals.write("request", fields);
    else logger.info("request", fields);
  }
}

function badHost(message: string): ServeError {
  return new ServeError("invalid_argument", message, { reason: "bad_host" });
}

/** Whether a request was turned away. One whose client left (499), or that took too long, was served. */
function isRefusal(code: number): boolean {
  return code === 503 || (code >= 400 && code < 499);
}
