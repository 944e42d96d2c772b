import type { Limits } from "../config/limits.ts";
import { ServeError } from "../core/errors.ts";

/** What a JSON text may be made of. */
export interface JsonBounds {
  /** Arrays and objects in each other. */
  readonly depth: number;
  /** Names of members, in all objects together. */
  readonly names: number;
  /** Strings (names are some), arrays and objects. */
  readonly items: number;
  /** Elements and members, which the text's commas separate. */
  readonly values: number;
}

export function restJsonBounds(limits: Limits): JsonBounds {
  const { maxJsonDepth, maxJsonNames, maxJsonItems, maxJsonValues } = limits;
  return { depth: maxJsonDepth, names: maxJsonNames, items: maxJsonItems, values: maxJsonValues };
}

export function rpcJsonBounds(limits: Limits): JsonBounds {
  const { maxJsonDepth, maxRpcJsonNames, maxRpcJsonItems, maxRpcJsonValues } = limits;
  return { depth: maxJsonDepth, names: maxRpcJsonNames, items: maxRpcJsonItems, values: maxRpcJsonValues };
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
/** "[" and "{", "]" and "}" differ in this bit. */
const BRACE_BIT = 0x20;
const OPEN = 0x7b;
const CLOSE = 0x7d;
/** Bytes of a string that are looked at one by one before a search for its end, which costs as much as some 30 of them. */
const SEARCH_AFTER = 64;

/**
 * Looks through a JSON text's UTF-8 bytes before anything is built of them: a parser's time and memory go into values, of
 * which 8 MiB hold millions. Linear, a few ns a byte of structure and less within strings. That the text is JSON at all is
 * the parser's to say.
 */
export class JsonScanner {
  readonly #bounds: JsonBounds;
  #inString = false;
  #escaped = false;
  #depth = 0;
  #names = 0;
  #items = 0;
  #values = 0;

  constructor(bounds: JsonBounds) {
    this.#bounds = bounds;
  }

  /** Takes the next bytes of the text. Throws ServeError invalid_argument for what is beyond the bounds. */
  push(bytes: Uint8Array): void {
    const { depth: maxDepth, names: maxNames, items: maxItems, values: maxValues } = this.#bounds;
    let i = this.#inString ? this.#skipString(bytes, 0) : 0;
    let depth = this.#depth;
    let names = this.#names;
    let items = this.#items;
    let values = this.#values;
    while (i < bytes.length) {
      const byte = bytes[i++]!;
      if (byte === QUOTE) {
        items++;
        i = this.#skipString(bytes, i);
      } else if (byte === COMMA) {
        values++;
      } else if (byte === COLON) {
        names++;
      } else if ((byte | BRACE_BIT) === OPEN) {
        items++;
        if (++depth > maxDepth) throw tooComplex(`nests arrays and objects more than ${maxDepth} levels deep`);
      } else if ((byte | BRACE_BIT) === CLOSE) {
        depth--;
      } else {
        continue;
      }
      if (items > maxItems) throw tooComplex(`has more than ${maxItems} strings, arrays and objects`);
      if (names > maxNames) throw tooComplex(`has more than ${maxNames} named members`);
      if (values > maxValues) throw tooComplex(`has more than ${maxValues} values`);
    }
    this.#depth = depth;
    this.#names = names;
    this.#items = items;
    this.#values = values;
  }

  /** Where a string that goes on at `from` is over; the bytes' end where it is not. */
  #skipString(bytes: Uint8Array, from: number): number {
    let i = this.#escaped ? from + 1 : from;
    this.#inString = true;
    this.#escaped = false;
    for (;;) {
      const stop = Math.min(bytes.length, i + SEARCH_AFTER);
      while (i < stop) {
        const byte = bytes[i++]!;
        if (byte === QUOTE) {
          this.#inString = false;
          return i;
        }
        if (byte === BACKSLASH) i++;
      }
      if (i >= bytes.length) break;
      const found = bytes.indexOf(QUOTE, i);
      const end = found < 0 ? bytes.length : found;
      // Backslashes in front of it escape each other, then it.
      let run = end;
      while (run > i && bytes[run - 1] === BACKSLASH) run--;
      const escaped = (end - run) % 2 === 1;
      if (found < 0) {
        this.#escaped = escaped;
        return bytes.length;
      }
      i = found + 1;
      if (escaped) continue;
      this.#inString = false;
      return i;
    }
    this.#escaped = i > bytes.length;
    return bytes.length;
  }
}

function tooComplex(what: string): ServeError {
  return new ServeError("invalid_argument", `The request's JSON ${what}.`, { reason: "invalid_json" });
}
