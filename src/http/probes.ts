import { ServeError } from "../core/errors.ts";
import type { Endpoint } from "./request-handler.ts";

/** Live: the process answers. */
export const health: Endpoint = () => Response.json({ status: "ok" });

/** Ready: every model can take a request. Throws ServeError unavailable. */
export const ready: Endpoint = (_context, { gateway, lifecycle }) => {
  if (lifecycle.draining) throw new ServeError("unavailable", "The server is shutting down.", { reason: "draining" });
  if (!gateway.ready()) {
    throw new ServeError("unavailable", "No replica can answer yet.", { reason: "not_ready" });
  }
  return Response.json({ status: "ready" });
};

export const version: Endpoint = (_context, deps) => Response.json({ version: deps.version });

/** Prometheus text format. */
export const metrics: Endpoint = async (_context, deps) =>
  new Response(await deps.metrics.render(), { headers: { "content-type": deps.metrics.contentType } });
