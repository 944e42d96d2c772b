import type { Ticket } from "../backend/backend.ts";
import type { Sequence } from "./sequence.ts";

/**
 * What one step computes, before it is packed: entry i is sequence seqs[i], which computes tokens
 * [starts[i], starts[i] + counts[i]). Its logit rows are, in order,
 *
 *   scoreRows[i] rows that score prompt tokens, after positions scoreFrom[i], scoreFrom[i] + 1, ...
 *   sampleRows[i] rows that sample: after the last (1 + drafts) tokens, or none in the middle of a prefill
 *
 * Allocated once and reused; two plans alternate so that one is in flight while the next is made.
 */
export class StepPlan {
  readonly seqs: Sequence[] = [];
  readonly runs: Int32Array;
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly scoreFrom: Int32Array;
  readonly scoreRows: Int32Array;
  readonly sampleRows: Int32Array;
  /** Draft tokens of entry i: drafts[i * maxDrafts, ...), sampleRows[i] - 1 of them. */
  readonly drafts: Int32Array;
  readonly maxDrafts: number;
  /** (source, destination) block pairs. */
  readonly copies: number[] = [];
  numSeqs = 0;
  numTokens = 0;
  numRows = 0;
  numDecodes = 0;
  /** Sum over tokens of the context each attends to. */
  numContext = 0;
  ticket: Ticket = 0;
  /** Number of the step, from 1. */
  step = 0;
  submittedMs = 0;

  constructor(maxSeqs: number, maxDrafts: number) {
    this.maxDrafts = maxDrafts;
    this.runs = new Int32Array(maxSeqs);
    this.starts = new Int32Array(maxSeqs);
    this.counts = new Int32Array(maxSeqs);
    this.scoreFrom = new Int32Array(maxSeqs);
    this.scoreRows = new Int32Array(maxSeqs);
    this.sampleRows = new Int32Array(maxSeqs);
    this.drafts = new Int32Array(maxSeqs * maxDrafts);
  }

  reset(): void {
    this.seqs.length = 0;
    this.copies.length = 0;
    this.numSeqs = 0;
    this.numTokens = 0;
    this.numRows = 0;
    this.numDecodes = 0;
    this.numContext = 0;
  }

  get numPrefill(): number {
    return this.numTokens - this.numDecodes;
  }

  /** Adds an entry; returns its index. */
  add(sequence: Sequence, count: number, sampleRows: number, scoreFrom: number, scoreRows: number): number {
    const i = this.numSeqs++;
    const start = sequence.numScheduled;
    this.seqs.push(sequence);
    this.runs[i] = sequence.run;
    this.starts[i] = start;
    this.counts[i] = count;
    this.sampleRows[i] = sampleRows;
    this.scoreFrom[i] = scoreFrom;
    this.scoreRows[i] = scoreRows;
    this.numTokens += count;
    this.numRows += sampleRows + scoreRows;
    this.numContext += count * (start + (count + 1) / 2);
    return i;
  }
}
