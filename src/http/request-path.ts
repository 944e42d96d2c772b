/**
 * The path of a request, as it came. Bun gives a URL without scheme and host where the Host header is missing (HTTP/1.0
 * health checks) or is no host.
 */
export function requestPath(request: Request): string {
  const { url } = request;
  return url.startsWith("/") ? url.replace(/[?#].*/s, "") : new URL(url).pathname;
}
