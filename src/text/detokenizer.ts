import type { Tokenizer } from "./tokenizer.ts";

const SPACE = 0x20;

/**
 * Token ids to text, one at a time. Bytes of an unfinished character are held back; every delta is whole characters.
 * The concatenation of all deltas and flush() equals tokenizer.decode() of all ids. Nearly every token is whole
 * characters, whose text the tokenizer keeps: only the others are decoded, each in O(its bytes).
 */
export class Detokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecialTokens: boolean;
  // ignoreBOM keeps U+FEFF in the text; without `fatal`, invalid sequences become U+FFFD by the WHATWG rule (one for each
  // maximal part of a character), which is also what decoding all bytes at once gives.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #spacesToStrip: number;
  #started: boolean;
  /** The decoder holds no part of a character. */
  #isWhole = true;

  /** continuesText: the tokens go on from other text, so a space at their start is a space of the text. */
  constructor(tokenizer: Tokenizer, skipSpecialTokens: boolean, continuesText = false) {
    this.#tokenizer = tokenizer;
    this.#skipSpecialTokens = skipSpecialTokens;
    this.#spacesToStrip = continuesText ? 0 : (tokenizer.leadingSpacesStripped ?? 0);
    this.#started = this.#spacesToStrip === 0;
  }

  /** The text that this token completes; may be empty. */
  push(tokenId: number): string {
    if (this.#skipSpecialTokens && this.#tokenizer.isSpecial(tokenId)) return "";
    const text = this.#tokenizer.tokenText(tokenId);
    if (text === "" || (text !== undefined && this.#isWhole && this.#started)) return text;
    // What the decoder holds is completed by this token, or becomes U+FFFD before it.
    this.#isWhole = text !== undefined;
    const bytes = this.#tokenizer.tokenBytes(tokenId);
    return this.#utf8.decode(this.#started ? bytes : this.#strip(bytes), { stream: true });
  }

  /** What is left when no more tokens come: U+FFFD where a character was never finished. */
  flush(): string {
    return this.#utf8.decode();
  }

  /** The word mark at the start of a SentencePiece text is no space of the text. */
  #strip(bytes: Uint8Array): Uint8Array {
    let from = 0;
    while (from < bytes.length && this.#spacesToStrip > 0 && bytes[from] === SPACE) {
      from++;
      this.#spacesToStrip--;
    }
    if (from < bytes.length || this.#spacesToStrip === 0) this.#started = true;
    return from === 0 ? bytes : bytes.subarray(from);
  }
}
