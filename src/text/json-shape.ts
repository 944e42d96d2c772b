import { TokenizerFormatError } from "./tokenizer-definition.ts";

/** Readers for parsed JSON of unknown shape; each throws TokenizerFormatError that names the place. */

export type JsonObject = Readonly<Record<string, unknown>>;

export function parseObject(json: string, place: string): JsonObject {
  try {
    return asObject(JSON.parse(json), place);
  } catch (cause) {
    if (cause instanceof TokenizerFormatError) throw cause;
    throw new TokenizerFormatError(`${place} is not valid JSON: ${(cause as Error).message}`);
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function asObject(value: unknown, place: string): JsonObject {
  if (!isObject(value)) throw new TokenizerFormatError(`${place} must be an object.`);
  return value;
}

/** null and undefined count as an empty list. */
export function asList(value: unknown, place: string): readonly unknown[] {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw new TokenizerFormatError(`${place} must be a list.`);
  return value;
}

export function asString(value: unknown, place: string): string {
  if (typeof value !== "string") throw new TokenizerFormatError(`${place} must be a string.`);
  return value;
}

/** A token id: bounded, since tables are sized by the largest. */
export function asTokenId(value: unknown, place: string): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= 1 << 22) {
    throw new TokenizerFormatError(`${place} must be a token id.`);
  }
  return value as number;
}
