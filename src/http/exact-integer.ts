/**
 * An integer field of a JSON text, exact beyond 2^53, where JSON.parse rounds to a double. `rounded` is what it gave.
 * JSON.parse's own way to the digits (a reviver) visits every value of the text; this looks for the key alone, and only
 * where a request has such a number. Where the digits are not certain (the key is written with escapes, or occurs twice with
 * numbers that round alike, or the number has an exponent), the integer that the double stands for.
 */
export function exactInteger(json: string, key: string, rounded: number): bigint {
  const digits = new Set<string>();
  // A quote within a JSON string is escaped, so this finds keys only, though at any depth.
  for (const [, found] of json.matchAll(new RegExp(`"${key}"\\s*:\\s*(-?\\d+)(?![\\d.eE])`, "g"))) {
    if (Number(found) === rounded) digits.add(found!);
  }
  const [only] = digits;
  return BigInt(digits.size === 1 ? only! : rounded);
}
