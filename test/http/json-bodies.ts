/** JSON bodies that are costly for their size, each as large as a bound allows. */
import { LIMITS } from "../../src/config/limits.ts";

const { maxBodyBytes, maxJsonNames, maxJsonItems, maxJsonValues } = LIMITS;

function list(count: number, item: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => item(i)).join(",");
}

/** By name. Made when asked for: a heap full of them is slow to collect. Each is one value, with room for an object around it. */
export function costlyValues(
  names = maxJsonNames,
  items = maxJsonItems,
  values = maxJsonValues,
  bytes = maxBodyBytes,
): Record<string, () => string> {
  const [n, i, v, b] = [names - 16, items - 32, values - 32, bytes - 1000];
  const text = (unit: string) => () => `"${unit.repeat(b / Buffer.byteLength(unit))}"`;
  return {
    text: text("the quick brown fox "),
    "text of two bytes": text("é"),
    "text of three bytes": text("漢"),
    "text of four bytes": text("😀"),
    "escaped text": text('\\n\\"'),
    "code points": text("\\u00e9"),
    backslashes: text("\\\\"),
    ids: () => `[${list(Math.min(v, Math.floor(b / 7)), (k) => String(k % 49152))}]`,
    "short numbers": () => `[${list(Math.min(v, b / 2), () => "1")}]`,
    "long numbers": () => `[${list(Math.min(v, Math.floor(b / 36)), (k) => `1.${k}97693134862315e300`)}]`,
    "one long number": () => "9".repeat(b),
    blanks: () => `${" \n".repeat(b / 2)}1`,
    names: () => `{${list(n, (k) => `"name ${k}":1`)}}`,
    "numbers as names": () => `{${list(n, (k) => `"${(k * 7919) % 100_000_007}":1`)}}`,
    "one name": () => `{${list(n, () => '"a":1')}}`,
    "objects of one name": () => `[${list(Math.min(n, i / 2), () => '{"a":1}')}]`,
    "objects of names of their own": () => `[${list(Math.floor(Math.min(n, i / 2)), (k) => `{"name ${k}":1}`)}]`,
    "empty arrays": () => `[${list(i, () => "[]")}]`,
    "empty objects": () => `[${list(i, () => "{}")}]`,
    strings: () => `[${list(i, (k) => `"text ${k}"`)}]`,
    deep: () => `${"[".repeat(250)}${"]".repeat(250)}`,
  };
}
