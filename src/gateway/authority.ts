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
  const host = (v6 ?? name!).toLowerCase().replace(/\.$/, "");
  return { host, port: port === "" ? undefined : Number(port) };
}

/** Names that browsers and resolvers keep on the machine itself (RFC 6761, section 6.3). */
function isLocalName(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost");
}

/** A host of the machine itself, by name or address, as in a URL or as in a setting. */
export function isLoopback(named: string): boolean {
  const host = named.toLowerCase().replace(/^\[(.*)\]$/, "$1");
  return isLocalName(host) || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** A host that no attacker's name server can point elsewhere: an address, or localhost. */
export function isFixedHost(host: string): boolean {
  return isIP(host) !== 0 || isLocalName(host);
}
