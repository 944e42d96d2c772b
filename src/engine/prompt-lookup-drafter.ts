import type { Drafter } from "./drafter.ts";
import type { DraftIndex, Sequence } from "./sequence.ts";

/** Lengths of the n-grams looked up, longest first: longer ones guess better, shorter ones more often. */
const NGRAMS = [4, 3, 2] as const;

/** Where each n-gram of a sequence last ended, for each n of NGRAMS. */
class NgramIndex implements DraftIndex {
  numIndexed = 0;
  readonly ends: Map<number, number>[] = NGRAMS.map(() => new Map());
}

/**
 * Prompt lookup: if the last tokens occurred before, what followed them there is the draft. Good where an answer quotes
 * its prompt. (A. Saxena, "Prompt Lookup Decoding", 2023.) The index is built once a token, as the sequence grows.
 */
export class PromptLookupDrafter implements Drafter {
  draft(sequence: Sequence, most: number, out: Int32Array, at: number): number {
    const { tokens, numTokens } = sequence;
    const index = (sequence.draftIndex ??= new NgramIndex()) as NgramIndex;
    // The n-gram at the very end is looked up before it is indexed, or it would find itself.
    this.#extend(index, tokens, numTokens - 1);
    for (let k = 0; k < NGRAMS.length; k++) {
      const n = NGRAMS[k]!;
      if (numTokens <= n) continue;
      const end = index.ends[k]!.get(hash(tokens, numTokens - n, n));
      if (end === undefined || !equal(tokens, end - n, numTokens - n, n)) continue;
      const count = Math.min(most, numTokens - end);
      for (let i = 0; i < count; i++) out[at + i] = tokens[end + i]!;
      return count;
    }
    return 0;
  }

  #extend(index: NgramIndex, tokens: Int32Array, until: number): void {
    for (; index.numIndexed < until; index.numIndexed++) {
      const end = index.numIndexed + 1;
      for (let k = 0; k < NGRAMS.length; k++) {
        const n = NGRAMS[k]!;
        if (end >= n) index.ends[k]!.set(hash(tokens, end - n, n), end);
      }
    }
  }
}

function hash(tokens: Int32Array, from: number, n: number): number {
  let h = 0;
  for (let i = 0; i < n; i++) h = Math.imul(h ^ tokens[from + i]!, 0x01000193) + 0x3c6ef372;
  return h | 0;
}

function equal(tokens: Int32Array, a: number, b: number, n: number): boolean {
  for (let i = 0; i < n; i++) if (tokens[a + i] !== tokens[b + i]) return false;
  return true;
}
