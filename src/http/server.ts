import { Elysia } from "elysia";
import { ServeError } from "../core/errors.ts";
import type { HttpDeps } from "./http-deps.ts";
import { RequestHandler } from "./request-handler.ts";
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
/** Time for the error events of ended streams to leave before connections are closed. */
const LAST_WORDS_MS = 50;

/** Starts listening: OpenAI's API, probes, metrics, and Connect where a handler is given. Throws when the port is taken. */
export function createHttpServer(deps: HttpDeps): HttpServer {
  const app = new Elysia();
  const handler = new RequestHandler(deps, (request, seconds) => app.server?.timeout(request, seconds));
  const isConnect = (path: string) => deps.connectHandler !== undefined && path.startsWith(CONNECT_PREFIX);
  deps.metrics.watchReplicas(() => deps.gateway.replicaStats());

  // Order matters: hooks apply to the routes after them.
  app.onRequest(({ request }) => {
    const path = new URL(request.url).pathname;
    return handler.admit(request, path, isConnect(path));
  });
  app.onError({ as: "global" }, ({ request, code, error }) => {
    const path = new URL(request.url).pathname;
    const known = code === "NOT_FOUND" ? matchRoute(path) : [];
    if (known.length > 0) {
      const allow = known.map((route) => route.method).join(", ");
      const message = `${request.method} is not allowed on ${path}; use ${allow}.`;
      return handler.refuse(request, new ServeError("invalid_argument", message, { reason: "method_not_allowed" }), {
        allow,
      });
    }
    if (code === "NOT_FOUND") {
      return handler.refuse(
        request,
        new ServeError("not_found", `Unknown path: ${request.method} ${path}.`, { reason: "unknown_path" }),
      );
    }
    return handler.refuse(request, new ServeError("internal", "The server met an internal error.", { cause: error }));
  });
  for (const { method, path, endpoint } of ROUTES) {
    app.route(method, path, ({ request }) => handler.serve(request, path, endpoint), { parse: "none" });
  }
  const { connectHandler } = deps;
  if (connectHandler !== undefined) {
    app.all(`${CONNECT_PREFIX.slice(0, -1)}*`, ({ request }) => connectHandler(request), { parse: "none" });
  }
  app.listen({
    hostname: deps.listen.host,
    port: deps.listen.port,
    // Cleartext HTTP/2 beside HTTP/1.1, for clients that multiplex.
    http2: true,
    // Between requests; during one the handler switches it off.
    idleTimeout: deps.limits.idleConnectionS,
    // Bodies are bounded while they are read, so that the refusal is an API error.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    // Elysia's default would let a second server share a taken port, and half of the requests.
    reusePort: false,
    development: false,
  } as Parameters<typeof app.listen>[0]);
  const server = app.server!;
  const { lifecycle } = deps;
  return {
    port: server.port!,
    url: server.url.href.replace(/\/$/, ""),
    async stop({ graceful }) {
      if (graceful) {
        lifecycle.drain();
        await Promise.race([drained(), aborted(lifecycle.stopSignal)]);
      }
      if (!graceful) {
        lifecycle.abort(new ServeError("unavailable", "The server is shutting down.", { reason: "shutting_down" }));
        await Promise.race([lifecycle.idle(), Bun.sleep(LAST_WORDS_MS)]);
      }
      await server.stop(true);
    },
  };

  async function drained(): Promise<void> {
    await lifecycle.idle();
    // The count covers work; these are responses whose last bytes are still leaving, and RPCs.
    while (server.pendingRequests > 0) await Bun.sleep(DRAIN_POLL_MS);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener("abort", () => resolve(), { once: true });
  return promise;
}
