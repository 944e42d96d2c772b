import { isAsciiLetter } from "./ascii-letter.ts";
import { WORD_MARK } from "./token-table.ts";
import type { EncoderDefinition } from "./tokenizer-definition.ts";

const SPACE = " ";
const SPACE_CODE = 0x20;
const LETTER_SPACE_LETTER = /[A-Za-z] [A-Za-z]/;

/**
 * Counts tokens that a text has at least, without encoding it: one begins at every space between two ASCII letters where
 * texts may be cut (EncoderDefinition.cutBefore). Stops at `enough`. About 2 ns a character.
 */
export type LeastTokens = (text: string, enough: number) => number;

/** Always 0 for a tokenizer of which no such place is known. */
export function leastTokens(encoder: EncoderDefinition): LeastTokens {
  if (!cutsAtSpaces(encoder)) return () => 0;
  return (text, enough) => {
    let count = 0;
    for (let at = 1; at < text.length && count < enough; at++) {
      if (text.charCodeAt(at) !== SPACE_CODE) continue;
      // What follows the letter is ASCII, too: a mark would be composed with it.
      const isCut =
        isAsciiLetter(text.charCodeAt(at - 1)) &&
        isAsciiLetter(text.charCodeAt(at + 1)) &&
        !(text.charCodeAt(at + 2) > 127);
      if (isCut) count++;
    }
    return count;
  };
}

/** Whether a space between letters survives normalisation as the mark, and no added token has such a space inside. */
function cutsAtSpaces({ cutBefore, normalizers, addedTokens }: EncoderDefinition): boolean {
  if (cutBefore === undefined || addedTokens.some(({ content }) => LETTER_SPACE_LETTER.test(content))) return false;
  let mark = SPACE;
  for (const step of normalizers) {
    if (step.type !== "replace") continue;
    if (step.pattern === SPACE) mark = step.content;
    else if (/[A-Za-z ]/.test(step.pattern)) return false;
  }
  return mark === cutBefore && (mark === SPACE || mark === WORD_MARK);
}
