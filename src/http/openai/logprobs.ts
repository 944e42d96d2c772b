import type { GenerateRequest, TokenLogprob } from "../../core/generate.ts";
import { CharacterCounter } from "../../text/character-counter.ts";
import { ShownBytes } from "../../text/shown-bytes.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { EchoedPrompt } from "./echoed-prompt.ts";

/** JSON has no -Infinity (a token that cannot be sampled); vLLM writes this instead. */
const LOWEST_LOGPROB = -9999;

const lenient = new TextDecoder();

export function finiteLogprob(logprob: number): number {
  return Math.max(logprob, LOWEST_LOGPROB);
}

/** A token as text; bytes that are no whole character become U+FFFD. */
export function tokenText(tokenizer: Tokenizer, id: number): string {
  return tokenizer.tokenText(id) ?? lenient.decode(tokenizer.tokenBytes(id));
}

/** The same, but unique to the token: a part of a character is written `bytes:\xe2\x82`, as OpenAI does. */
export function uniqueTokenText(tokenizer: Tokenizer, id: number): string {
  const text = tokenizer.tokenText(id);
  if (text !== undefined) return text;
  const bytes = Array.from(tokenizer.tokenBytes(id), (byte) => `\\x${byte.toString(16).padStart(2, "0")}`);
  return `bytes:${bytes.join("")}`;
}

/** The pieces of a JSON array's text, one an item: long ones are written in slices. */
export function* jsonList<T>(items: Iterable<T>, json: (item: T) => string): Generator<string> {
  let before = "[";
  for (const item of items) {
    yield before + json(item);
    before = ",";
  }
  yield before === "[" ? "[]" : "]";
}

/** One entry of the chat API's `logprobs.content`. */
export function chatLogprob(tokenizer: Tokenizer, entry: TokenLogprob) {
  return {
    ...chatToken(tokenizer, entry),
    top_logprobs: entry.top.map((top) => chatToken(tokenizer, top)),
  };
}

function chatToken(tokenizer: Tokenizer, { tokenId, logprob }: { tokenId: number; logprob: number }) {
  return {
    token: tokenText(tokenizer, tokenId),
    logprob: finiteLogprob(logprob),
    bytes: Array.from(tokenizer.tokenBytes(tokenId)),
  };
}

/** A token with its prediction; its id alone where there was none (the first of a prompt). */
export type ScoredToken = TokenLogprob | number;

/**
 * The completions API's `logprobs`, chunk after chunk of one choice: parallel lists, one entry a token. text_offset is where
 * a token begins in the choice's text, in characters (code points): a character of several tokens begins in the first. Text
 * and offsets are made of the same bytes, so that the parts between the offsets are the text.
 */
export class CompletionLogprobs {
  /** Of the next token. */
  private offset = 0;
  private index = 0;
  private readonly echoed: Int32Array;
  private readonly shown: ShownBytes;
  private readonly counter = new CharacterCounter();

  /** `echo`: the prompt, where its tokens come first. */
  constructor(
    private readonly tokenizer: Tokenizer,
    { promptTokenIds, sampling }: GenerateRequest,
    echo: EchoedPrompt | undefined,
  ) {
    this.echoed = echo?.characters ?? new Int32Array(0);
    // As the replica reads the output.
    const continuesText = !tokenizer.isSpecial(promptTokenIds[promptTokenIds.length - 1]!);
    this.shown = new ShownBytes(tokenizer, sampling.skipSpecialTokens, continuesText);
  }

  /** The pieces of the JSON text for the next tokens. */
  *json(tokens: readonly ScoredToken[]): Generator<string> {
    yield '{"tokens":';
    yield* jsonList(tokens, (token) => this.tokenJson(idOf(token)));
    yield ',"token_logprobs":';
    yield* jsonList(tokens, (token) => (typeof token === "number" ? "null" : logprobJson(token.logprob)));
    yield ',"top_logprobs":';
    yield* jsonList(tokens, (token) => (typeof token === "number" ? "null" : this.topJson(token)));
    yield ',"text_offset":';
    yield* jsonList(tokens, (token) => String(this.advance(idOf(token))));
    yield "}";
  }

  private tokenJson(id: number): string {
    return JSON.stringify(uniqueTokenText(this.tokenizer, id));
  }

  /** By rank, the chosen token first. Written by hand: an object would sort keys that look like integers. */
  private topJson({ tokenId, logprob, top }: TokenLogprob): string {
    const shown = [this.tokenJson(tokenId)];
    let json = `{${shown[0]}:${logprobJson(logprob)}`;
    for (const other of top) {
      const token = this.tokenJson(other.tokenId);
      // Itself, or another token that reads the same.
      if (shown.includes(token)) continue;
      shown.push(token);
      json += `,${token}:${logprobJson(other.logprob)}`;
    }
    return `${json}}`;
  }

  private advance(id: number): number {
    const { offset } = this;
    this.offset += this.echoed[this.index++] ?? this.counter.push(this.shown.of(id));
    return offset;
  }
}

function idOf(token: ScoredToken): number {
  return typeof token === "number" ? token : token.tokenId;
}

function logprobJson(logprob: number): string {
  return JSON.stringify(finiteLogprob(logprob));
}

/**
 * An entry of vLLM's `prompt_logprobs`: a map by token id, the prompt's own token first, then the alternatives by rank; null
 * for the first of a prompt.
 */
export function vllmPromptLogprobJson(tokenizer: Tokenizer, entry: TokenLogprob | null): string {
  if (entry === null) return "null";
  const shown = (tokenId: number, logprob: number, rank: number) => {
    const text = JSON.stringify(tokenText(tokenizer, tokenId));
    return `"${tokenId}":{"logprob":${logprobJson(logprob)},"rank":${rank},"decoded_token":${text}}`;
  };
  let json = `{${shown(entry.tokenId, entry.logprob, entry.rank)}`;
  entry.top.forEach(({ tokenId, logprob }, i) => {
    if (tokenId !== entry.tokenId) json += `,${shown(tokenId, logprob, i + 1)}`;
  });
  return `${json}}`;
}
