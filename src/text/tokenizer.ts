/** Text to token ids and back. Implementations: text/kitoken-tokenizer.ts; the Worker front is text/tokenizer-pool.ts. */
export interface Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  /** The ids that end a generation (the model's own end tokens; generation_config's included). */
  readonly eosTokenIds: readonly number[];
  /** addSpecialTokens: the tokenizer's own template (a leading BOS, where it has one). Special tokens in the text are recognised. */
  encode(text: string, addSpecialTokens: boolean): Int32Array;
  decode(ids: ArrayLike<number>, skipSpecialTokens: boolean): string;
  /** The exact bytes of one token; empty for special tokens when skipped. Shared storage: do not write to it. */
  tokenBytes(id: number): Uint8Array;
  isSpecial(id: number): boolean;
}
