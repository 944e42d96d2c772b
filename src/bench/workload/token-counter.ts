import type { EndpointApi } from "../endpoint-api.ts";
import { WORD_GROUP, WORDS } from "./words.ts";

/** How prompts of an exact length are made for one endpoint's tokenizer and template. */
export interface PromptScale {
  /** Words that add exactly one token each when joined by spaces. */
  words: readonly string[];
  /** Tokens of a prompt beside its words: template, begin-of-sequence, the lead. */
  overhead: number;
  /** What counted: the server's `/tokenize`, its usage figures, or nothing (lengths are then estimates). */
  source: "tokenize" | "usage" | "estimate";
}

/** Every prompt begins with this, so that each following word has a space before it. */
export const PROMPT_LEAD = "Words:";

/** Fewer words than this make prompts of different requests too alike. */
const MIN_WORDS = 40;

/**
 * Learns the scale: the lead alone gives the overhead, and a group of words is kept when it adds exactly as many tokens as
 * it has words. Byte-level BPE splits at spaces before it merges and SentencePiece merges do not cross them, so the counts
 * add up; a long prompt is counted at the end to prove it. Where nothing counts, words are taken as a token each.
 */
export async function calibrate(api: EndpointApi): Promise<PromptScale> {
  const estimate: PromptScale = { words: WORDS, overhead: 2, source: "estimate" };
  const counter = await api.tokenCounter();
  if (counter === undefined) return estimate;
  const overhead = await counter.count(PROMPT_LEAD);
  const words: string[] = [];
  for (let at = 0; at < WORDS.length; at += WORD_GROUP) {
    const group = WORDS.slice(at, at + WORD_GROUP);
    if ((await counter.count(`${PROMPT_LEAD} ${group.join(" ")}`)) === overhead + group.length) words.push(...group);
  }
  if (words.length < MIN_WORDS) return estimate;
  const proof = [...words, ...words];
  if ((await counter.count(`${PROMPT_LEAD} ${proof.join(" ")}`)) !== overhead + proof.length) return estimate;
  return { words, overhead, source: counter.source };
}
