import { ServeError } from "../core/errors.ts";
import { reflected } from "../core/reflected.ts";
import { type Authority, isFixedHost, isLoopback, parseAuthority } from "./authority.ts";

export interface BrowserGuardOptions {
  /** The address the server listens on, not a name for it. */
  readonly listenHost: string;
  /** Keys are asked for. A page does not know them, so it cannot use the server through its visitor's browser. */
  readonly authenticated: boolean;
  /** Names that the server is reached by, "*" for any. */
  readonly allowedHosts: readonly string[];
  /** Origins whose pages may use the server, "*" for all. */
  readonly corsOrigins: readonly string[];
}

/**
 * Keeps web pages from using a server without keys through the browser of someone who can reach it: a page of another
 * origin can send a POST (its body as text/plain needs no preflight), and one whose name is pointed at 127.0.0.1 after it
 * was loaded (DNS rebinding) can read the answers too.
 */
export class BrowserGuard {
  private readonly checksHost: boolean;
  private readonly allowedHosts: ReadonlySet<string>;
  private readonly corsOrigins: ReadonlySet<string>;

  constructor(private readonly options: BrowserGuardOptions) {
    this.allowedHosts = new Set(options.allowedHosts);
    this.corsOrigins = new Set(options.corsOrigins);
    this.checksHost = !options.authenticated && isLoopback(options.listenHost);
  }

  /**
   * Throws ServeError permission_denied: on loopback for a Host that is no address, localhost or allowed name; everywhere
   * for an Origin that is neither the server's own nor allowed. Requests without these headers come from no browser.
   */
  check(headers: Headers, method: string): void {
    if (this.options.authenticated) return;
    const hostHeader = headers.get("host") ?? "";
    const authority = parseAuthority(hostHeader);
    if (this.checksHost && hostHeader !== "" && !this.isKnown(authority)) {
      throw new ServeError(
        "permission_denied",
        `Without an API key this server answers on this machine only, and not as '${reflected(hostHeader)}'. ` +
          "Start it with --allowed-host NAME or --api-key-file to reach it by this name.",
        { reason: "host_not_allowed" },
      );
    }
    const origin = headers.get("origin");
    if (origin === null) {
      // Browsers send an Origin with every cross-site POST; an old one, or a header stripped on the way, still says this.
      const site = headers.get("sec-fetch-site");
      if (method === "GET" || method === "HEAD" || site === null || site === "same-origin" || site === "none") return;
    } else if (this.allowsOrigin(origin) || this.isOwn(origin, authority)) return;
    throw new ServeError(
      "permission_denied",
      `Pages of the origin '${reflected(origin ?? "unknown")}' may not use this server. ` +
        "Allow them with --cors-origin ORIGIN, or start the server with --api-key-file.",
      { reason: "origin_not_allowed" },
    );
  }

  private isKnown(authority: Authority | undefined): boolean {
    if (this.allowedHosts.has("*")) return true;
    return authority !== undefined && (isFixedHost(authority.host) || this.allowedHosts.has(authority.host));
  }

  private allowsOrigin(origin: string): boolean {
    return this.corsOrigins.has("*") || this.corsOrigins.has(origin);
  }

  /** Whether a page comes from the very address that it calls. Behind a proxy its scheme may be https. */
  private isOwn(origin: string, called: Authority | undefined): boolean {
    const [, scheme, rest] = /^(https?):\/\/(.+)$/i.exec(origin) ?? [];
    const page = rest === undefined ? undefined : parseAuthority(rest);
    // A name may have been pointed here by anyone: only what is known counts.
    if (page === undefined || called === undefined || !this.isKnown(called)) return false;
    const defaultPort = scheme!.toLowerCase() === "https" ? 443 : 80;
    if ((page.port ?? defaultPort) !== (called.port ?? defaultPort)) return false;
    return page.host === called.host || (isLoopback(page.host) && isLoopback(called.host));
  }
}
