import { writeKit } from "./kit-definition.ts";
import { splitsCutBeforeSpace } from "./split-patterns.ts";
import { byteTokenValue, type TokenSpelling, type TokenTable, WORD_MARK } from "./token-table.ts";
import {
  type AddedToken,
  type EncoderDefinition,
  type Normalizer,
  TokenizerFormatError,
} from "./tokenizer-definition.ts";

/** A byte-pair encoder, read from either source; see bpeEncoder. */
export interface BpeModel {
  /** By id. */
  readonly tokens: ReadonlyArray<string | undefined>;
  readonly table: TokenTable;
  readonly spelling: TokenSpelling;
  /** [vocabSize] when a token is made: of two possible merges, the lower comes first; -1 where no merge makes it. */
  readonly mergeRank: Int32Array;
  readonly byteFallback: boolean;
  readonly unknown: { readonly id: number; readonly content: string; readonly fuse: boolean } | undefined;
  /** A whole part that is a token becomes it, whether merges lead there or not. */
  readonly ignoreMerges: boolean;
  readonly splits: readonly string[];
  readonly normalizers: readonly Normalizer[];
  readonly addedTokens: readonly AddedToken[];
  readonly prefixIds: readonly number[];
  readonly suffixIds: readonly number[];
}

const LETTER_BEFORE_MARK = /[A-Za-z]▁/;

export function bpeEncoder(model: BpeModel): EncoderDefinition {
  const { tokens, table } = model;
  for (const id of [...model.prefixIds, ...model.suffixIds, model.unknown?.id ?? 0]) {
    if (tokens[id] === undefined) throw new TokenizerFormatError(`Token id ${id} is not in the vocabulary.`);
  }
  const utf8 = new TextEncoder();
  const kitBytes = (id: number): Uint8Array => {
    if (model.spelling === "byte-level") return table.bytes.subarray(table.offsets[id]!, table.offsets[id + 1]!);
    const value = model.byteFallback ? byteTokenValue(tokens[id]!) : undefined;
    return value === undefined ? utf8.encode(tokens[id]!) : Uint8Array.of(value);
  };
  const kit = writeKit({
    order: encoderOrder(model),
    tokenBytes: kitBytes,
    units: model.spelling === "byte-level" ? "bytes" : "characters",
    byteFallback: model.byteFallback,
    unknown: model.byteFallback ? undefined : model.unknown,
    splits: model.splits,
  });
  return {
    kit,
    addedTokens: model.addedTokens,
    normalizers: model.normalizers,
    prefixIds: model.prefixIds,
    suffixIds: model.suffixIds,
    cutBefore: cutBefore(model),
  };
}

/**
 * The ids that encoding can make, in merge order, then those that only begin it (bytes, characters). Tokens that neither
 * merge nor begin (control tokens, leftovers) are left out, or the encoder would merge to them.
 */
function encoderOrder(model: BpeModel): Int32Array {
  const { tokens, table, mergeRank } = model;
  const added = new Set(model.addedTokens.map((token) => token.id));
  const merged: number[] = [];
  const units: number[] = [];
  const seenBytes = new Uint8Array(256);
  let byteTokens = 0;
  for (let id = 0; id < tokens.length; id++) {
    const token = tokens[id];
    if (token === undefined || token === "") continue;
    if (mergeRank[id]! >= 0) {
      merged.push(id);
    } else if (model.spelling === "byte-level") {
      const length = table.offsets[id + 1]! - table.offsets[id]!;
      if (length === 1 || (model.ignoreMerges && !added.has(id))) units.push(id);
    } else {
      const value = byteTokenValue(token);
      if (value !== undefined) {
        byteTokens++;
      } else if (isOneCharacter(token)) {
        if (token.charCodeAt(0) < 128) seenBytes[token.charCodeAt(0)] = 1;
        units.push(id);
      }
    }
  }
  if (model.byteFallback) {
    if (byteTokens !== 256) throw new TokenizerFormatError(`Byte fallback needs 256 byte tokens, found ${byteTokens}.`);
    // An ASCII character with a token of its own never falls back, and no two entries may have the same bytes.
    for (let id = 0; id < tokens.length; id++) {
      const value = tokens[id] === undefined ? undefined : byteTokenValue(tokens[id]!);
      if (value !== undefined && seenBytes[value] === 0) units.push(id);
    }
  }
  merged.sort((a, b) => mergeRank[a]! - mergeRank[b]! || a - b);
  return Int32Array.from([...merged, ...units]);
}

function isOneCharacter(token: string): boolean {
  return token.length === 1 || (token.length === 2 && token.codePointAt(0)! > 0xffff);
}

function cutBefore(model: BpeModel): string | undefined {
  if (model.splits.length > 0) return splitsCutBeforeSpace(model.splits) ? " " : undefined;
  // Without splits a text is one part; it may be cut where no token holds both sides of the cut.
  if (model.spelling !== "sentencepiece") return undefined;
  return model.tokens.some((token) => token !== undefined && LETTER_BEFORE_MARK.test(token)) ? undefined : WORD_MARK;
}
