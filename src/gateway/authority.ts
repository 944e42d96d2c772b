import { isIP } from "node:net";

/** What a Host header or the end of an Origin names. */
export interface Authority {
  /** Lower case, IPv6 without brackets, without a final dot. */
  readonly host: string;
  readonly port: number | undefined;
}

const AUTHORITY = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._~-]+))(?::(\d{0,5}))?$/i;
const MAX_PORT = 65535;

/** Reads "host", "host:port", "[v6]:port". Undefined for anything else, two hosts in one header among it. */
export function parseAuthority(text: string): Authority | undefined {
  const match = AUTHORITY.exec(text);
  if (match === null) return undefined;
  const [, v6, name, port = ""] = match;
  if (v6 !== undefined && isIP(v6) !== 6) return undefined;
  if (Number(port) > MAX_PORT) return undefined;
  const host = v6 === undefined ? name!.toLowerCase().replace(/\.$/, "") : canonicalHost(v6);
  return { host, port: port === "" ? undefined : Number(port) };
}

/** A host as it stands in a URL, before a port: IPv6 in brackets. */
export function urlHost(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}

/** As browsers write it: IPv6 in its shortest form, and an address for what else means one ("127.1", "0x7f000001"). */
function canonicalHost(host: string): string {
  const url = URL.parse(`http://${urlHost(host)}`);
  return url === null ? host.toLowerCase() : url.hostname.replace(/^\[(.*)\]$/, "$1");
}

/** Names that browsers and resolvers keep on the machine itself (RFC 6761, section 6.3). */
function isLocalName(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost");
}

/** A host of the machine itself, by name or address, as in a URL or as in a setting. */
export function isLoopback(named: string): boolean {
  const host = canonicalHost(named.replace(/^\[(.*)\]$/, "$1"));
  // The last are IPv4's in IPv6: ::ffff:127.0.0.1.
  return (
    isLocalName(host) || host === "::1" || (isIP(host) === 4 && host.startsWith("127.")) || /^::ffff:7f/.test(host)
  );
}

/** A host that no attacker's name server can point elsewhere: an address, or localhost. */
export function isFixedHost(host: string): boolean {
  return isIP(host) !== 0 || isLocalName(host);
}
