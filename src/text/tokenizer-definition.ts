import type { TokenTable } from "./token-table.ts";

/**
 * A tokenizer as plain data, made once from tokenizer.json or GGUF metadata and posted to the tokenizer Worker.
 * The steps are those of Hugging Face's tokenizers: added tokens are cut out of the text, the stretches between them are
 * normalised, split by expressions and merged by byte-pair encoding, and a template adds tokens at both ends.
 */
export interface TokenizerDefinition {
  readonly encoder: EncoderDefinition;
  readonly table: TokenTable;
  /** [vocabSize] 1 where decode() may skip the token: control tokens. */
  readonly special: Uint8Array;
  readonly leadingSpacesStripped: number;
  readonly bosTokenId: number | undefined;
  /** For chat templates: bos_token, eos_token, unk_token, pad_token, where the model has them. */
  readonly templateTokens: Readonly<Record<string, string>>;
}

/** What encoding needs. */
export interface EncoderDefinition {
  /** Vocabulary, merge order and split expressions, in kitoken's binary format. */
  readonly kit: Uint8Array;
  readonly addedTokens: readonly AddedToken[];
  readonly normalizers: readonly Normalizer[];
  readonly prefixIds: readonly number[];
  readonly suffixIds: readonly number[];
  /**
   * The character before which a text may be cut, where an ASCII letter stands on either side of it, without changing any
   * token: " ", or the word mark once the normalizers have run. undefined: no such place is known.
   */
  readonly cutBefore: string | undefined;
}

/** A token matched in the text itself, before the model sees it. Field meanings are those of tokenizer.json. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Matched only where no word character stands beside it. */
  readonly singleWord: boolean;
  /** Takes the white space to its left (right) along. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Matched in the normalised text rather than the raw one. */
  readonly normalized: boolean;
}

export type Normalizer =
  | { readonly type: "unicode"; readonly form: "NFC" | "NFD" | "NFKC" | "NFKD" }
  | { readonly type: "lowercase" }
  | { readonly type: "replace"; readonly pattern: string; readonly content: string }
  | {
      readonly type: "prepend";
      readonly content: string;
      /** Not where the stretch begins with it already. */
      readonly unlessPresent: boolean;
      /** Only at the start of the whole text, not after an added token. */
      readonly firstOnly: boolean;
    };

/** The model's tokenizer is of a kind that is not supported, or its description is damaged. */
export class TokenizerFormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TokenizerFormatError";
  }
}
