import type { Tokenizer } from "./tokenizer.ts";

const SPACE = 0x20;
const NO_BYTES = new Uint8Array(0);

/** The bytes that tokens, one after the other, have in a text: what is shown of it, and what decode() leaves out. */
export class ShownBytes {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecialTokens: boolean;
  #spacesToStrip: number;
  /** The text has begun: from here on a token's bytes are shown as they are. */
  started: boolean;

  /** continuesText: the tokens go on from other text, so a space at their start is a space of the text. */
  constructor(tokenizer: Tokenizer, skipSpecialTokens: boolean, continuesText: boolean) {
    this.#tokenizer = tokenizer;
    this.#skipSpecialTokens = skipSpecialTokens;
    this.#spacesToStrip = continuesText ? 0 : (tokenizer.leadingSpacesStripped ?? 0);
    this.started = this.#spacesToStrip === 0;
  }

  /** Shared storage: do not write to it. */
  of(tokenId: number): Uint8Array {
    if (this.#skipSpecialTokens && this.#tokenizer.isSpecial(tokenId)) return NO_BYTES;
    const bytes = this.#tokenizer.tokenBytes(tokenId);
    return this.started ? bytes : this.#strip(bytes);
  }

  /** The word mark at the start of a SentencePiece text is no space of the text. */
  #strip(bytes: Uint8Array): Uint8Array {
    let from = 0;
    while (from < bytes.length && this.#spacesToStrip > 0 && bytes[from] === SPACE) {
      from++;
      this.#spacesToStrip--;
    }
    if (from < bytes.length || this.#spacesToStrip === 0) this.started = true;
    return from === 0 ? bytes : bytes.subarray(from);
  }
}
