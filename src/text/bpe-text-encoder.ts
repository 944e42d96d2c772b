import type { Kitoken } from "kitoken/web";
import { AddedTokenSplitter } from "./added-token-splitter.ts";
import { isAsciiLetter } from "./ascii-letter.ts";
import { createKitoken } from "./kitoken-module.ts";
import { normalize } from "./normalize.ts";
import type { EncoderDefinition } from "./tokenizer-definition.ts";

/** Longer texts are cut into chunks of about this many characters, so that the encoder's memory stays small. */
const CHUNK_CHARS = 64 * 1024;

/** Text to ids, in whichever thread it is made. */
export class BpeTextEncoder {
  readonly #definition: EncoderDefinition;
  readonly #kitoken: Kitoken;
  readonly #raw: AddedTokenSplitter;
  readonly #normalized: AddedTokenSplitter | undefined;

  constructor(definition: EncoderDefinition) {
    this.#definition = definition;
    this.#kitoken = createKitoken(definition.kit);
    const { addedTokens, normalizers } = definition;
    const verbatim = addedTokens.filter((token) => !token.normalized || normalizers.length === 0);
    const normalized = addedTokens.filter((token) => token.normalized && normalizers.length > 0);
    this.#raw = new AddedTokenSplitter(verbatim, (token) => token.content);
    if (normalized.length > 0) {
      this.#normalized = new AddedTokenSplitter(normalized, (token) => normalize(token.content, normalizers, true));
    }
  }

  encode(text: string, addSpecialTokens: boolean): Int32Array<ArrayBuffer> {
    const ids = new IdBuffer(text.length);
    if (addSpecialTokens) ids.append(this.#definition.prefixIds);
    for (const piece of this.#raw.split(text.toWellFormed())) {
      if ("id" in piece) ids.append([piece.id]);
      else this.#encodeStretch(normalize(piece.text, this.#definition.normalizers, piece.start === 0), ids);
    }
    if (addSpecialTokens) ids.append(this.#definition.suffixIds);
    return ids.finish();
  }

  #encodeStretch(text: string, ids: IdBuffer): void {
    const pieces = this.#normalized === undefined ? [{ text, start: 0 }] : this.#normalized.split(text);
    for (const piece of pieces) {
      if ("id" in piece) ids.append([piece.id]);
      else this.#encodeWords(piece.text, ids);
    }
  }

  #encodeWords(text: string, ids: IdBuffer): void {
    for (const chunk of chunks(text, this.#definition.cutBefore)) ids.append(this.#kitoken.encode(chunk, false));
  }
}

/** Cuts a long text before a mark that has an ASCII letter on either side; a text without such places stays whole. */
function* chunks(text: string, mark: string | undefined): Generator<string> {
  let from = 0;
  if (mark !== undefined) {
    let at = CHUNK_CHARS;
    while (text.length - from > CHUNK_CHARS && (at = text.indexOf(mark, at)) >= 0) {
      if (isAsciiLetter(text.charCodeAt(at - 1)) && isAsciiLetter(text.charCodeAt(at + 1))) {
        yield text.slice(from, at);
        from = at;
        at += CHUNK_CHARS;
      } else {
        at++;
      }
    }
  }
  yield from === 0 ? text : text.slice(from);
}

class IdBuffer {
  #ids: Int32Array<ArrayBuffer>;
  #length = 0;

  /** textLength: in UTF-16 units; most texts have fewer tokens than a third of it. */
  constructor(textLength: number) {
    this.#ids = new Int32Array(Math.ceil(textLength / 3) + 16);
  }

  append(ids: ArrayLike<number>): void {
    if (this.#length + ids.length > this.#ids.length) {
      const grown = new Int32Array(Math.max(this.#ids.length * 2, this.#length + ids.length));
      grown.set(this.#ids);
      this.#ids = grown;
    }
    this.#ids.set(ids, this.#length);
    this.#length += ids.length;
  }

  finish(): Int32Array<ArrayBuffer> {
    return this.#ids.slice(0, this.#length);
  }
}
