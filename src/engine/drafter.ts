import type { Sequence } from "./sequence.ts";

/**
 * Guesses how a sequence goes on. A draft token is verified in the step that computes it and accepted only if it equals
 * the one sampled there, so drafts change speed and never text.
 */
export interface Drafter {
  /** Writes up to `most` guessed tokens to out[at, ...) and returns how many. All of the sequence's tokens are known. */
  draft(sequence: Sequence, most: number, out: Int32Array, at: number): number;
}
