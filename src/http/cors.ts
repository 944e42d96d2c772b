/** Browsers may repeat a preflight's answer for this long. */
const PREFLIGHT_MAX_AGE_S = 600;
/** A page that asks for longer lists of headers gets none of them; the openai package has about 10. */
const MAX_HEADERS_CHARS = 2048;

/** Lets pages of given origins call the API. Never with credentials: keys travel in headers that the page sets itself. */
export class Cors {
  private readonly anyOrigin: boolean;
  private readonly origins: ReadonlySet<string>;

  constructor(origins: readonly string[]) {
    this.anyOrigin = origins.includes("*");
    this.origins = new Set(origins);
  }

  /** The answer to a preflight of an allowed origin; undefined for every other request. */
  preflight(request: Request): Response | undefined {
    if (request.method !== "OPTIONS" || !request.headers.has("access-control-request-method")) return undefined;
    if (!this.allows(request)) return undefined;
    const asked = request.headers.get("access-control-request-headers") ?? "";
    const headers = new Headers({
      "access-control-allow-methods": "GET, POST, OPTIONS",
      "access-control-allow-headers": asked.length <= MAX_HEADERS_CHARS ? asked : "",
      "access-control-max-age": String(PREFLIGHT_MAX_AGE_S),
    });
    return new Response(null, { status: 204, headers });
  }

  /** Adds what lets the page read the response. */
  mark(request: Request, headers: Headers): void {
    if (this.origins.size === 0) return;
    if (!this.anyOrigin) headers.append("vary", "Origin");
    if (!this.allows(request)) return;
    headers.set("access-control-allow-origin", this.anyOrigin ? "*" : request.headers.get("origin")!);
    headers.set("access-control-expose-headers", "x-request-id, retry-after, x-should-retry");
  }

  private allows(request: Request): boolean {
    const origin = request.headers.get("origin");
    return origin !== null && (this.anyOrigin || this.origins.has(origin));
  }
}
