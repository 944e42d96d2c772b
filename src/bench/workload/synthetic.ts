import { makeRng, type Rng } from "../stats/rng.ts";
import { describeLengths, type LengthDistribution, sampleLength } from "./lengths.ts";
import type { Session, Workload } from "./session.ts";
import { PROMPT_LEAD, type PromptScale } from "./token-counter.ts";

export interface SyntheticOptions {
  /** Prompt tokens of each turn, template included, shared prefix excluded. */
  input: LengthDistribution;
  output: LengthDistribution;
  /** Tokens at the beginning of every first turn that sessions of a group have in common; 0: none. */
  sharedPrefixTokens: number;
  /** Number of different shared prefixes. */
  prefixGroups: number;
  /** Turns of a conversation. */
  turns: number;
  seed: number;
}

/** Streams of random numbers below the seed; one for each purpose, so that changing one leaves the others alone. */
const LENGTHS = 1;
const TEXT = 2;
const PREFIX = 3;

/** Prompts of random words with exact lengths (see `calibrate`); no two sessions share more than the asked-for prefix. */
export function syntheticWorkload(options: SyntheticOptions): Workload {
  const { input, output, sharedPrefixTokens, prefixGroups, turns, seed } = options;
  const shared = sharedPrefixTokens > 0 ? `, after ${sharedPrefixTokens} shared (${prefixGroups} groups)` : "";
  const many = turns > 1 ? `, ${turns} turns` : "";
  return {
    description: `prompt ${describeLengths(input)}${shared}, output ${describeLengths(output)}${many}`,
    distinct: Number.POSITIVE_INFINITY,
    timestampsMs: undefined,
    multiTurn: turns > 1,
    session(cell: number, index: number, scale: PromptScale): Session {
      const lengths = makeRng(seed, LENGTHS, cell, index);
      const text = makeRng(seed, TEXT, cell, index);
      const group = index % Math.max(1, prefixGroups);
      const prefix = randomWords(makeRng(seed, PREFIX, group), sharedPrefixTokens, scale);
      const session: Session = { index, turns: [] };
      for (let turn = 0; turn < turns; turn++) {
        const own = randomWords(text, Math.max(1, sampleLength(input, lengths) - scale.overhead), scale);
        const words = turn === 0 ? [...prefix, ...own] : own;
        session.turns.push({ content: promptOf(words), maxTokens: sampleLength(output, lengths) });
      }
      return session;
    },
  };
}

export function randomWords(rng: Rng, count: number, scale: PromptScale): string[] {
  return Array.from({ length: count }, () => scale.words[rng.integer(scale.words.length)]!);
}

export function promptOf(words: readonly string[]): string {
  return `${PROMPT_LEAD} ${words.join(" ")}`;
}
