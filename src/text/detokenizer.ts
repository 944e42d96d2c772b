import { ShownBytes } from "./shown-bytes.ts";
import type { Tokenizer } from "./tokenizer.ts";

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
  readonly #shown: ShownBytes;
  /** The decoder holds no part of a character. */
  #isWhole = true;

  /** continuesText: the tokens go on from other text, so a space at their start is a space of the text. */
  constructor(tokenizer: Tokenizer, skipSpecialTokens: boolean, continuesText = false) {
    this.#tokenizer = tokenizer;
    this.#skipSpecialTokens = skipSpecialTokens;
    this.#shown = new ShownBytes(tokenizer, skipSpecialTokens, continuesText);
  }

  /** The text that this token completes; may be empty. */
  push(tokenId: number): string {
    if (this.#skipSpecialTokens && this.#tokenizer.isSpecial(tokenId)) return "";
    const text = this.#tokenizer.tokenText(tokenId);
    if (text === "" || (text !== undefined && this.#isWhole && this.#shown.started)) return text;
    // What the decoder holds is completed by this token, or becomes U+FFFD before it.
    this.#isWhole = text !== undefined;
    return this.#utf8.decode(this.#shown.of(tokenId), { stream: true });
  }

  /** What is left when no more tokens come: U+FFFD where a character was never finished. */
  flush(): string {
    return this.#utf8.decode();
  }
}
