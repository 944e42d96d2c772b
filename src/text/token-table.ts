import { decodeByteLevel } from "./byte-level.ts";

/** The bytes of every token, in one block. Plain data. */
export interface TokenTable {
  readonly bytes: Uint8Array;
  /** [vocabSize + 1]: token i is bytes[offsets[i] .. offsets[i + 1]]. */
  readonly offsets: Uint32Array;
}

/** How a vocabulary writes bytes: GPT-2's stand-ins, or SentencePiece's "▁" for a space and "<0x0A>" for a lone byte. */
export type TokenSpelling = "byte-level" | "sentencepiece";

export const WORD_MARK = "▁";
const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;

/** The value of a byte-fallback token such as "<0x0A>". */
export function byteTokenValue(token: string): number | undefined {
  const match = token.length === 6 ? BYTE_TOKEN.exec(token) : null;
  return match === null ? undefined : Number.parseInt(match[1]!, 16);
}

/** tokens: by id; undefined where an id has no token. */
export function buildTokenTable(tokens: ReadonlyArray<string | undefined>, spelling: TokenSpelling): TokenTable {
  let units = 0;
  for (const token of tokens) units += token?.length ?? 0;
  // UTF-8 takes at most 3 bytes for a UTF-16 unit; a byte-level character stands for one.
  const bytes = new Uint8Array(units * 3);
  const offsets = new Uint32Array(tokens.length + 1);
  const encoder = new TextEncoder();
  let end = 0;
  for (let id = 0; id < tokens.length; id++) {
    const token = tokens[id] ?? "";
    let written = -1;
    if (spelling === "byte-level") {
      written = decodeByteLevel(token, bytes, end);
    } else {
      const value = byteTokenValue(token);
      if (value !== undefined) {
        bytes[end] = value;
        written = 1;
      }
    }
    if (written < 0) {
      const text = spelling === "sentencepiece" ? token.replaceAll(WORD_MARK, " ") : token;
      written = encoder.encodeInto(text, bytes.subarray(end)).written;
    }
    end += written;
    offsets[id + 1] = end;
  }
  return { bytes: bytes.slice(0, end), offsets };
}
