import { Elysia } from "elysia";
import { ServeError } from "../core/errors.ts";
import { reflected } from "../core/reflected.ts";
import type { HttpDeps } from "./http-deps.ts";
import { Listener } from "./listener.ts";
import type { ConnectionServer } from "./request-context.ts";
import { type Endpoint, RequestHandler } from "./request-handler.ts";
import { requestPath } from "./request-path.ts";
import { matchRoute, ROUTES } from "./routes.ts";

export interface HttpServer {
  readonly port: number;
  readonly url: string;
  /**
   * graceful: refuses new requests with 503 and resolves when the running ones have ended. Otherwise ends them with an
   * error and closes every connection. May be called again with graceful false while the first call waits.
   */
  stop(options: { graceful: boolean }): Promise<void>;
}

const CONNECT_PREFIX = "/scalellm.v1.";
/** How often a draining server looks whether its last response has been sent. */
const DRAIN_POLL_MS = 10;
/** Time for errors to reach the clients of a server that stops at once; the rest are cut off. */
const LAST_WORDS_MS = 250;

/** Starts listening: OpenAI's API, probes, metrics, and Connect where a handler is given. Throws when the port is taken. */
export function createHttpServer(deps: HttpDeps): HttpServer {
  const isConnect = (path: string) => deps.connectHandler !== undefined && path.startsWith(CONNECT_PREFIX);
  const handler = new RequestHandler(deps, isConnect);
  deps.metrics.watchReplicas(() => deps.gateway.replicaStats());
  const app = createRouter(deps, handler);
  const answer = (request: Request, server: ConnectionServer) =>
    handler.admit(request, server, listener.hasRoom()) ?? app.fetch(request);
  /** Thousands of requests may come in one turn, on one connection; those that are reset by then cost nothing more. */
  const answerLater = async (request: Request, server: ConnectionServer) => {
    await deps.turns.next();
    return request.signal.aborted ? new Response(null, { status: 499 }) : answer(request, server);
  };
  const listener = new Listener({
    hostname: deps.listen.host,
    port: deps.listen.port,
    reusePort: deps.listen.reusePort ?? false,
    limits: deps.limits,
    descriptors: deps.descriptors,
    logger: deps.logger,
    fetch: (request, server) => (deps.turns.spent() ? answerLater(request, server) : answer(request, server)),
    failed: (error) => handler.lastResort(error),
    refused: (requestId) => handler.refusedConnection(requestId),
  });
  const { lifecycle } = deps;
  const stoppedAtOnce = new AbortController();
  return {
    port: listener.port,
    url: listener.url,
    async stop({ graceful }) {
      if (graceful) {
        lifecycle.drain();
        await Promise.race([drained(stoppedAtOnce.signal), aborted(stoppedAtOnce.signal)]);
      } else {
        lifecycle.abort(new ServeError("unavailable", "The server is shutting down.", { reason: "shutting_down" }));
        const patience = AbortSignal.timeout(LAST_WORDS_MS);
        await Promise.race([drained(patience), aborted(patience)]);
        stoppedAtOnce.abort();
      }
      await listener.stop();
    },
  };

  /** Resolves when nothing runs and the last bytes of every response have left, or `hurry` aborts after the former. */
  async function drained(hurry: AbortSignal): Promise<void> {
    await lifecycle.idle();
    while (listener.pendingRequests > 0 && !hurry.aborted) await Bun.sleep(DRAIN_POLL_MS);
  }
}

/** Routes of requests that were admitted. */
function createRouter(deps: HttpDeps, handler: RequestHandler) {
  // Elysia's default looks for the path behind the 11th character, and misses its beginning after a host of one or two.
  const app = new Elysia({ handler: { standardHostname: false } });
  // Order matters: hooks apply to the routes after them.
  app.onError({ as: "global" }, async ({ request, code, error }) => {
    const path = requestPath(request);
    if (code === "NOT_FOUND") await handler.arrived(request);
    const known = code === "NOT_FOUND" ? matchRoute(path) : [];
    if (known.length > 0 && !known.some((route) => route.method === request.method)) {
      const allow = known.map((route) => route.method).join(", ");
      const message = `${request.method} is not allowed on ${reflected(path)}; use ${allow}.`;
      return handler.refuse(request, new ServeError("invalid_argument", message, { reason: "method_not_allowed" }), {
        allow,
      });
    }
    if (code === "NOT_FOUND") {
      return handler.refuse(
        request,
        new ServeError("not_found", `Unknown path: ${request.method} ${reflected(path)}.`, { reason: "unknown_path" }),
      );
    }
    return handler.refuse(request, new ServeError("internal", "The server met an internal error.", { cause: error }));
  });
  for (const { method, path, endpoint } of ROUTES) {
    app.route(method, path, ({ request }) => handler.serve(request, path, endpoint), { parse: "none" });
  }
  const { connectHandler } = deps;
  if (connectHandler !== undefined) {
    const endpoint = rpcEndpoint(connectHandler);
    app.all(`${CONNECT_PREFIX}*`, ({ request }) => handler.serve(request, `${CONNECT_PREFIX}*`, endpoint), {
      parse: "none",
    });
  }
  return app.compile();
}

/** The handler as an endpoint. */
function rpcEndpoint(connectHandler: NonNullable<HttpDeps["connectHandler"]>): Endpoint {
  return async (context) => {
    const path = reflected(requestPath(context.request));
    const answer = connectHandler(context.request, context);
    if (answer === undefined) {
      throw new ServeError("not_found", `Unknown procedure: ${path}.`, { reason: "unknown_path" });
    }
    context.logged.procedure = path;
    return await answer;
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener("abort", () => resolve(), { once: true });
  return promise;
}
