import type { AddedToken } from "./tokenizer-definition.ts";

/** A stretch of text, or an added token between two stretches. */
export type Piece = { readonly text: string; readonly start: number } | { readonly id: number };

/** Word characters as Unicode's regular expressions (UTS #18) and Rust's define them: joiners are some. */
const WORD = /\p{Alphabetic}|\p{M}|\p{Nd}|\p{Pc}|\p{Join_Control}/u;
const SPACE = /\p{White_Space}/u;

/**
 * Cuts added tokens out of a text: the leftmost, and of several at one place the longest, as Hugging Face's tokenizers do.
 */
export class AddedTokenSplitter {
  readonly #byContent = new Map<string, AddedToken>();
  readonly #pattern: RegExp | undefined;

  /** contents: what each token looks like in the texts to be split; empty ones are never matched. */
  constructor(tokens: readonly AddedToken[], contentOf: (token: AddedToken) => string) {
    for (const token of tokens) {
      const content = contentOf(token);
      if (content !== "") this.#byContent.set(content, token);
    }
    if (this.#byContent.size === 0) return;
    const contents = [...this.#byContent.keys()].sort((a, b) => b.length - a.length);
    const starts = new Set(contents.map((content) => String.fromCodePoint(content.codePointAt(0)!)));
    // The look-ahead lets the expression engine skip almost every place without trying hundreds of alternatives.
    this.#pattern = new RegExp(`(?=[${escapeClass(starts)}])(?:${contents.map(escapeLiteral).join("|")})`, "gu");
  }

  /** Pieces in order, without empty stretches; `start` is where a stretch begins in the text. */
  split(text: string): Piece[] {
    if (this.#pattern === undefined) return text === "" ? [] : [{ text, start: 0 }];
    const pieces: Piece[] = [];
    let end = 0;
    for (const match of text.matchAll(this.#pattern)) {
      const token = this.#byContent.get(match[0])!;
      let from = match.index;
      let to = from + match[0].length;
      // What an earlier token's rstrip has taken is gone.
      if (from < end || (token.singleWord && (endsInWord(text, from) || beginsWithWord(text, to)))) continue;
      if (token.lstrip) while (from > end && SPACE.test(text[from - 1]!)) from--;
      if (token.rstrip) while (to < text.length && SPACE.test(text[to]!)) to++;
      if (from > end) pieces.push({ text: text.slice(end, from), start: end });
      pieces.push({ id: token.id });
      end = to;
    }
    if (end < text.length) pieces.push({ text: text.slice(end), start: end });
    return pieces;
  }
}

function escapeLiteral(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

function escapeClass(characters: Iterable<string>): string {
  return [...characters].map((character) => character.replace(/[\\\]^[-]/, "\\$&")).join("");
}

function endsInWord(text: string, end: number): boolean {
  const low = text.charCodeAt(end - 1) & 0xfc00;
  return end > 0 && WORD.test(text.slice(low === 0xdc00 ? end - 2 : end - 1, end));
}

function beginsWithWord(text: string, start: number): boolean {
  return start < text.length && WORD.test(String.fromCodePoint(text.codePointAt(start)!));
}
