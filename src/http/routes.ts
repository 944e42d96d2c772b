import { detokenize } from "./detokenize.ts";
import { chatCompletions } from "./openai/chat-completions.ts";
import { completions } from "./openai/completions.ts";
import { listModels, retrieveModel } from "./openai/models.ts";
import { health, metrics, ready, version } from "./probes.ts";
import type { Endpoint } from "./request-handler.ts";
import { tokenize } from "./tokenize.ts";

export interface Route {
  readonly method: "GET" | "POST";
  /** A trailing * matches the rest of a path. */
  readonly path: string;
  readonly endpoint: Endpoint;
}

export const ROUTES: readonly Route[] = [
  { method: "POST", path: "/v1/chat/completions", endpoint: chatCompletions },
  { method: "POST", path: "/v1/completions", endpoint: completions },
  { method: "GET", path: "/v1/models", endpoint: listModels },
  { method: "GET", path: "/v1/models/*", endpoint: retrieveModel },
  { method: "POST", path: "/tokenize", endpoint: tokenize },
  { method: "POST", path: "/detokenize", endpoint: detokenize },
  { method: "GET", path: "/health", endpoint: health },
  { method: "GET", path: "/ready", endpoint: ready },
  { method: "GET", path: "/metrics", endpoint: metrics },
  { method: "GET", path: "/version", endpoint: version },
];

/** The routes of a path, whatever the method. */
export function matchRoute(path: string): readonly Route[] {
  return ROUTES.filter((route) =>
    route.path.endsWith("*") ? path.startsWith(route.path.slice(0, -1)) : route.path === path,
  );
}
