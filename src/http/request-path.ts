import { parseAuthority } from "../gateway/authority.ts";

const SCHEME = "http://";

/**
 * The path of a request, as Bun gives it: without dot segments, percent-escapes as they came. Reads no more than it must
 * of what a client wrote, and never throws.
 */
export function requestPath(request: Request): string {
  return pathOf(request.url);
}

/**
 * A URL that can be parsed, for readers of its path and query: Bun's begins with the client's Host header, and many a host
 * of good form cannot be one in a URL ("1.2.3.4.5", "xn--a").
 */
export function localUrl({ url }: Request): string {
  const query = url.indexOf("?");
  return `${SCHEME}localhost${pathOf(url)}${query < 0 ? "" : url.slice(query)}`;
}

function pathOf(url: string): string {
  const start = url.startsWith("/") ? 0 : url.startsWith(SCHEME) ? url.indexOf("/", SCHEME.length) : -1;
  // CONNECT names a host instead of a path.
  return start < 0 ? "/" : url.slice(start).replace(/[?#].*/s, "");
}

/**
 * Bun puts a URL together from the Host header, whatever that is, and gives only a path where it is missing (HTTP/1.0
 * health checks) or obviously no host. The router needs one it can read, so such a request gets another.
 * False where its Host header is malformed (RFC 9112, section 3.2: answer 400), which two of them are too.
 */
export function settleUrl(request: Request): boolean {
  const host = request.headers.get("host") ?? "";
  const wellFormed = host === "" || parseAuthority(host) !== undefined;
  if (host === "" || !wellFormed || !request.url.startsWith(SCHEME)) {
    Object.defineProperty(request, "url", { value: localUrl(request) });
  }
  return wellFormed;
}

/** More than one Host header; Bun joins them. */
export function hasSeveralHosts(request: Request): boolean {
  return request.headers.get("host")?.includes(",") ?? false;
}
