/**
 * The expressions that cut text into words before merging, as in the models' own tokenizers (Rust regex syntax).
 * GPT-2's is also what a ByteLevel pre-tokenizer with use_regex means.
 */
export const SPLIT_GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
export const SPLIT_LLAMA3 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
export const SPLIT_QWEN2 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
/** Every digit alone: Digits(individual_digits), first step of SmolLM's. */
export const SPLIT_DIGIT = String.raw`\p{N}`;
export const SPLIT_DIGITS = String.raw`\p{N}+`;

/**
 * Expressions that always cut between a letter and a space before a letter, and read on from that space in the same way
 * wherever the text began: long texts are cut there (see EncoderDefinition.cutBefore).
 */
const CUTS_BEFORE_SPACE: ReadonlySet<string> = new Set([
  SPLIT_GPT2,
  SPLIT_LLAMA3,
  SPLIT_QWEN2,
  SPLIT_DIGIT,
  SPLIT_DIGITS,
]);

/** Whether texts may be cut before a space between letters, given all of a tokenizer's expressions. */
export function splitsCutBeforeSpace(splits: readonly string[]): boolean {
  const known = splits.every((expression) => CUTS_BEFORE_SPACE.has(expression));
  return known && splits.some((expression) => expression !== SPLIT_DIGIT && expression !== SPLIT_DIGITS);
}
