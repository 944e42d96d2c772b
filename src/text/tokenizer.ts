/**
 * Text to token ids and back. Texts are UTF-16 JavaScript strings; a lone surrogate counts as U+FFFD.
 * Implementation: text/bpe-tokenizer.ts; the front that uses a Worker: text/worker-text-service.ts.
 */
export interface Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  /** The ids that end a generation (the model's own end tokens; generation_config's included). */
  readonly eosTokenIds: readonly number[];
  /** Spaces that decode() strips from the very start of a text: 1 for SentencePiece's word mark; undefined is none. */
  readonly leadingSpacesStripped?: number;
  /**
   * addSpecialTokens: the tokenizer's own template (a leading BOS, where it has one). Special tokens written out in the
   * text are recognised, as Hugging Face's encode() does: a user's text can therefore hold control tokens.
   */
  encode(text: string, addSpecialTokens: boolean): Int32Array;
  /** The UTF-8 reading of the tokens' bytes one after the other; what is not valid UTF-8 becomes U+FFFD. */
  decode(ids: ArrayLike<number>, skipSpecialTokens: boolean): string;
  /**
   * The exact bytes of one token: of its text for a special token, empty for an id without a token.
   * Shared storage: do not write to it.
   */
  tokenBytes(id: number): Uint8Array;
  /** The text of a token that is whole characters by itself; undefined where it has part of one, or bytes that are no UTF-8. */
  tokenText(id: number): string | undefined;
  isSpecial(id: number): boolean;
}
