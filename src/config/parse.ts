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

/** A key as it can stand in a header. An empty one, such as an unset variable's, would let everyone in. */
export function parseApiKey(value: string): string {
  if (!/^[\x21-\x7e]+$/.test(value)) {
    throw new ConfigError(
      value === "" ? "a key must not be empty" : "a key may hold printable ASCII without spaces only",
    );
  }
  return value;
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
