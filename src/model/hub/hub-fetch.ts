import { ServeError } from "../../core/errors.ts";

export interface HubAccess {
  /** "https://huggingface.co" or a mirror, without a trailing slash. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly signal: AbortSignal | undefined;
  /** Pause before the first retry; doubles each time. Default 500. */
  readonly backoffMs?: number | undefined;
  /** A connection that brings nothing for this long is given up and tried again. Default 30,000. */
  readonly stallMs?: number | undefined;
}

const DEFAULT_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 15_000;
/** A dropped link is back within a minute or is really gone. */
export const MAX_ATTEMPTS = 6;
/** The hub redirects to a CDN, sometimes by way of a renamed repository. */
const MAX_REDIRECTS = 5;

/**
 * GET with the token, following redirects by hand: the token goes to the endpoint's own origin and nowhere else.
 * Resolves with any status but a redirect. Rejects as fetch does.
 */
export async function hubGet(access: HubAccess, url: string, init: RequestInit = {}): Promise<Response> {
  const home = new URL(access.endpoint).origin;
  let target = new URL(url);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const headers = new Headers(init.headers);
    headers.delete("authorization");
    if (access.token !== undefined && target.origin === home) headers.set("authorization", `Bearer ${access.token}`);
    const response = await fetch(target, { ...init, headers, redirect: "manual" });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    await response.body?.cancel();
    const next = new URL(location, target);
    if (next.protocol !== "https:" && next.protocol !== target.protocol) {
      throw new ServeError("unavailable", `${target.host} redirects to ${next.protocol}//, which is refused`);
    }
    target = next;
  }
  throw new ServeError("unavailable", `${target.host} redirects more than ${MAX_REDIRECTS} times`);
}

/** What a status means to the person who pulls. */
export function statusError(status: number, what: string, access: HubAccess): ServeError {
  const { endpoint, token } = access;
  if (status === 401) {
    const hint =
      token === undefined ? "it may not exist, or be private: set HF_TOKEN" : "the token is not valid for it";
    return new ServeError("unauthenticated", `${endpoint} refuses access to ${what}; ${hint}`);
  }
  if (status === 403) {
    return new ServeError(
      "permission_denied",
      `${endpoint} refuses access to ${what}; a gated model's terms must be accepted on its page, and HF_TOKEN be set`,
    );
  }
  if (status === 404) return new ServeError("not_found", `${endpoint} has no ${what}`);
  return new ServeError("unavailable", `${endpoint} answered ${status} for ${what}`);
}

/** Worth another attempt: the server or a proxy is busy or briefly gone. */
export function isTransient(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

export function cancelled(what: string): ServeError {
  return new ServeError("cancelled", `Pulling ${what} was cancelled`);
}

/** Waits before attempt `attempt` (1 is the first retry). Throws `cancelled` when the signal aborts. */
export async function backOff(access: HubAccess, attempt: number, what: string): Promise<void> {
  const longest = Math.min(MAX_BACKOFF_MS, (access.backoffMs ?? DEFAULT_BACKOFF_MS) * 2 ** (attempt - 1));
  // Spread, so that many pulls do not come back at once.
  await pause(longest * (0.5 + Math.random() / 2), access.signal, what);
}

export async function pause(ms: number, signal: AbortSignal | undefined, what: string): Promise<void> {
  if (signal?.aborted) throw cancelled(what);
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
  if (signal?.aborted) throw cancelled(what);
}
