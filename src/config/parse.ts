/** Readers of option values; each throws ConfigError with what would have been right. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ConfigError";
  }
}

const UNITS: Record<string, number> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/** "512MiB", "2g", "1e9": bytes. */
export function parseBytes(value: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?(?:e[0-9]+)?)\s*([kmgt]?i?)b?$/i.exec(value.trim());
  const unit = match ? UNITS[match[2]!.toLowerCase()] : undefined;
  if (!match || unit === undefined) throw new ConfigError(`expected a size such as 512MiB or 2GB, got '${value}'`);
  return Math.floor(Number(match[1]) * unit);
}

/** A text where an empty one, such as an unset variable's, is a mistake. */
export function parseText(value: string): string {
  if (value.trim() === "") throw new ConfigError("must not be empty");
  return value;
}

/**
 * A key as it can stand in a header. An empty one, such as an unset variable's, would let everyone in; one with a comma
 * would be two shorter ones in the environment.
 */
export function parseApiKey(value: string): string {
  if (value === "") throw new ConfigError("a key must not be empty");
  if (!/^[\x21-\x7e]+$/.test(value)) throw new ConfigError("a key may hold printable ASCII without spaces only");
  if (value.includes(",")) {
    throw new ConfigError("a key must not hold a comma; give several keys one by one, as a list or a line each");
  }
  return value;
}

/** The number of an open file descriptor. */
export function parseDescriptor(value: string): string {
  if (!/^\d{1,9}$/.test(value)) throw new ConfigError(`expected the number of an open descriptor, got '${value}'`);
  return value;
}

/** An address or a name to listen on; brackets around IPv6, as URLs have them, are taken off. */
export function parseHost(value: string): string {
  const host = /^\[([0-9a-f:.%\w]+)\]$/i.exec(value)?.[1] ?? value;
  const isAddress = /^[0-9a-f:.]+(%\w+)?$/i.test(host) && host.split(":").length > 2;
  if (!isAddress && !/^[\w.-]+$/.test(host)) {
    throw new ConfigError(
      `expected an address such as 127.0.0.1, ::1 or localhost, without scheme and port, got '${value}'`,
    );
  }
  return host;
}

export function parseInteger(value: string, low: number, high: number): number {
  const number = Number(value);
  if (value.trim() === "" || !Number.isInteger(number) || number < low || number > high) {
    throw new ConfigError(`expected an integer between ${low} and ${high}, got '${value}'`);
  }
  return number;
}

export function parseNumber(value: string, low: number, high: number): number {
  const number = Number(value);
  if (value.trim() === "" || !(number >= low && number <= high)) {
    throw new ConfigError(`expected a number between ${low} and ${high}, got '${value}'`);
  }
  return number;
}

export function parseBoolean(value: string): boolean {
  if (/^(1|true|yes|on)$/i.test(value)) return true;
  if (/^(0|false|no|off)$/i.test(value)) return false;
  throw new ConfigError(`expected true or false, got '${value}'`);
}

export function parseChoice(value: string, choices: readonly string[]): string {
  if (!choices.includes(value)) throw new ConfigError(`expected one of ${choices.join(", ")}, got '${value}'`);
  return value;
}

/** A host's name as it stands in a Host header, without a port; "*" for any. */
export function parseHostName(value: string): string {
  const name = value.toLowerCase();
  if (name !== "*" && !/^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$/.test(name)) {
    throw new ConfigError(`expected a host's name without scheme and port, such as llm.example, got '${value}'`);
  }
  return name;
}

/** An origin as browsers send it, "*" for all: without its scheme's own port. "null" is what any page can send. */
export function parseOrigin(value: string): string {
  const origin = value.toLowerCase().replace(/^(http:.*):80$|^(https:.*):443$/, "$1$2");
  if (origin !== "*" && !/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#,@*]+$/.test(origin)) {
    throw new ConfigError(`expected an origin without a path, such as https://app.example, or *; got '${value}'`);
  }
  return origin;
}
