import type { TokenLogprob } from "../../core/generate.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";

/** JSON has no -Infinity (a token that cannot be sampled); vLLM writes this instead. */
const LOWEST_LOGPROB = -9999;

const lenient = new TextDecoder();
const strict = new TextDecoder("utf-8", { fatal: true });

export function finiteLogprob(logprob: number): number {
  return Math.max(logprob, LOWEST_LOGPROB);
}

/** A token as text; bytes that are no whole character become U+FFFD. */
export function tokenText(tokenizer: Tokenizer, id: number): string {
  return lenient.decode(tokenizer.tokenBytes(id));
}

/** The same, but unique to the token: a part of a character is written `bytes:\xe2\x82`, as OpenAI does. */
export function uniqueTokenText(tokenizer: Tokenizer, id: number): string {
  const bytes = tokenizer.tokenBytes(id);
  try {
    return strict.decode(bytes);
  } catch {
    return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }
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

/** The completions API's `logprobs`: parallel lists, one entry a token. */
export class CompletionLogprobs {
  readonly tokens: string[] = [];
  readonly token_logprobs: Array<number | null> = [];
  readonly top_logprobs: Array<Record<string, number> | null> = [];
  /** Where each token begins in the choice's text, in characters (code points). */
  readonly text_offset: number[] = [];
}

/** Fills CompletionLogprobs, chunk after chunk of one choice. */
export class CompletionLogprobsBuilder {
  private offset = 0;

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly skipSpecialTokens: boolean,
  ) {}

  /** `entry` null: a token without a prediction (the first of a prompt). */
  add(logprobs: CompletionLogprobs, tokenId: number, entry: TokenLogprob | null): void {
    logprobs.tokens.push(uniqueTokenText(this.tokenizer, tokenId));
    logprobs.token_logprobs.push(entry === null ? null : finiteLogprob(entry.logprob));
    logprobs.top_logprobs.push(entry === null ? null : this.top(entry));
    logprobs.text_offset.push(this.offset);
    if (!(this.skipSpecialTokens && this.tokenizer.isSpecial(tokenId))) {
      this.offset += characters(this.tokenizer.tokenBytes(tokenId));
    }
  }

  /** The alternatives, and the token itself where it is none of them. */
  private top(entry: TokenLogprob): Record<string, number> {
    // Without a prototype: a token may be spelled "__proto__".
    const top: Record<string, number> = Object.create(null);
    for (const { tokenId, logprob } of entry.top)
      top[uniqueTokenText(this.tokenizer, tokenId)] = finiteLogprob(logprob);
    top[uniqueTokenText(this.tokenizer, entry.tokenId)] ??= finiteLogprob(entry.logprob);
    return top;
  }
}

/** Characters that begin in these bytes: a token may hold a part of one. */
function characters(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if ((byte & 0xc0) !== 0x80) count++;
  return count;
}

/** vLLM's `prompt_logprobs`: for each prompt token a map by token id; null for the first. */
export function vllmPromptLogprobs(tokenizer: Tokenizer, entries: ReadonlyArray<TokenLogprob | null>) {
  return entries.map((entry) => {
    if (entry === null) return null;
    const shown = new Map<number, { logprob: number; rank: number; decoded_token: string }>();
    const add = (tokenId: number, logprob: number, rank: number) =>
      shown.set(tokenId, {
        logprob: finiteLogprob(logprob),
        rank,
        decoded_token: tokenText(tokenizer, tokenId),
      });
    add(entry.tokenId, entry.logprob, entry.rank);
    entry.top.forEach(({ tokenId, logprob }, i) => {
      if (tokenId !== entry.tokenId) add(tokenId, logprob, i + 1);
    });
    return Object.fromEntries(shown);
  });
}
