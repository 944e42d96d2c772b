import { CharacterCounter } from "../../text/character-counter.ts";
import { ShownBytes } from "../../text/shown-bytes.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";

/** A prompt as it is echoed. */
export interface EchoedPrompt {
  readonly text: string;
  readonly ids: Int32Array;
  /** By token: how many of the text's characters (code points) begin in it. Empty where nobody asks. */
  readonly characters: Int32Array;
}

/** The echo of a prompt that came as token ids: what they decode to. */
export function echoOfIds(tokenizer: Tokenizer, ids: Int32Array, skipSpecialTokens: boolean): EchoedPrompt {
  return assemble(tokenizer, ids, (id) => !(skipSpecialTokens && tokenizer.isSpecial(id)));
}

/**
 * The echo of a prompt that came as text: that text, whatever special tokens it writes out, with each token's part of it.
 * Special tokens that the tokenizer adds have no part. Where the tokenizer changes the text (it normalises, or takes blanks
 * into special tokens) its tokens cannot be found in it: then the text that they decode to.
 */
export function echoOfText(tokenizer: Tokenizer, ids: Int32Array, text: string): EchoedPrompt {
  const special = (id: number) => (tokenizer.isSpecial(id) ? tokenizer.tokenText(id) : undefined);
  const written = (id: number, at: number) => {
    const spelled = special(id);
    return spelled === undefined || (spelled !== "" && text.startsWith(spelled, at));
  };
  const exact = assemble(tokenizer, ids, written);
  if (exact.text === text) return exact;
  return assemble(tokenizer, ids, (id) => {
    const spelled = special(id);
    return spelled === undefined || text.includes(spelled);
  });
}

/** `isShown`: whether a token is part of the text, which is `at` UTF-16 units long before it. */
function assemble(tokenizer: Tokenizer, ids: Int32Array, isShown: (id: number, at: number) => boolean): EchoedPrompt {
  const shown = new ShownBytes(tokenizer, false, false);
  const counter = new CharacterCounter();
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  const characters = new Int32Array(ids.length);
  let text = "";
  for (const [i, id] of ids.entries()) {
    if (!isShown(id, text.length)) continue;
    const bytes = shown.of(id);
    characters[i] = counter.push(bytes);
    text += utf8.decode(bytes, { stream: true });
  }
  return { text: text + utf8.decode(), ids, characters };
}
