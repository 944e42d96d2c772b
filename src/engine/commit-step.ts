import type { StepResult } from "../backend/step-layout.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import { FINISH } from "./step-message.ts";
import type { StepPlan } from "./step-plan.ts";
import type { StepWriter } from "./step-writer.ts";

export interface CommitCounts {
  outputTokens: number;
  draftTokens: number;
  acceptedDraftTokens: number;
}

/**
 * Takes in the result of a step: appends sampled tokens, decides who is finished, publishes computed blocks and writes
 * what the replica has to know. `finish` ends a sequence.
 *
 * A sequence may have ended or lost its blocks while the step ran. What was sampled for an ended one is dropped (a stop
 * acts one step late when the next step is already submitted, and must not let a token slip out); a preempted one keeps
 * its token, since only its blocks are gone.
 */
export function commitStep(
  scheduler: Scheduler,
  plan: StepPlan,
  result: StepResult,
  writer: StepWriter,
  counts: CommitCounts,
  finish: (sequence: Sequence) => void,
  fail: (sequence: Sequence, error: unknown) => void,
): void {
  let row = 0;
  for (let i = 0; i < plan.numSeqs; i++) {
    const sequence = plan.seqs[i]!;
    const firstRow = row;
    row += plan.scoreRows[i]! + plan.sampleRows[i]!;
    if (sequence.state === "finished") continue;
    try {
      commitSequence(scheduler, plan, i, result, firstRow, writer, counts, finish);
    } catch (error) {
      // No memory for its tokens, for one: that is no reason to compute everybody's again.
      fail(sequence, error);
    }
  }
}

function commitSequence(
  scheduler: Scheduler,
  plan: StepPlan,
  i: number,
  result: StepResult,
  firstRow: number,
  writer: StepWriter,
  counts: CommitCounts,
  finish: (sequence: Sequence) => void,
): void {
  const sequence = plan.seqs[i]!;
  const scoreRows = plan.scoreRows[i]!;
  const sampleRows = plan.sampleRows[i]!;
  if (scoreRows > 0) {
    sequence.numScored += scoreRows;
    writer.promptScores(sequence, scoreRows, result, firstRow);
  }
  let ended: number = FINISH.none;
  if (sampleRows > 0) {
    const from = sequence.numTokens;
    const firstSample = firstRow + scoreRows;
    sequence.numPending--;
    ended = appendSampled(sequence, result.words, firstSample, sampleRows);
    const taken = sequence.numTokens - from;
    counts.outputTokens += taken;
    counts.draftTokens += sampleRows - 1;
    counts.acceptedDraftTokens += taken - 1;
    sequence.group.account.deficit -= taken;
    writer.tokens(sequence, from, ended, result, firstSample);
  }
  if (sequence.state === "running" && sequence.run === plan.runs[i]) {
    const written = plan.starts[i]! + plan.counts[i]!;
    // Behind the last accepted draft lies KV of tokens that were not sampled: it will be overwritten.
    if (sampleRows > 1) sequence.numScheduled = sequence.numTokens - 1;
    sequence.numCommitted = Math.min(written, sampleRows > 1 ? sequence.numTokens - 1 : written);
    if (sequence.faults > 0 && sequence.numCommitted >= sequence.faultPosition) sequence.faults = 0;
    scheduler.blocks.commit(sequence);
  } else if (sampleRows > 0 && sequence.state === "held") {
    if (ended === FINISH.none) scheduler.queue.pushResumed(sequence);
  }
  if (ended !== FINISH.none) finish(sequence);
}

/** Appends the tokens of a sequence's rows until one ends it or a draft was not accepted. Returns a FINISH. */
function appendSampled(sequence: Sequence, words: Int32Array, row: number, rows: number): number {
  const { stopIds, minTokens } = sequence.group.sampling;
  for (let i = 0; i < rows; i++) {
    const token = words[row + i]!;
    if (token < 0) break;
    sequence.append(token);
    // The sampler masks stop tokens as long as min_tokens asks; whatever comes out of it, this end obeys it too.
    if (sequence.numOutput > minTokens && stopIds.includes(token)) return FINISH.stop;
    if (sequence.numOutput >= sequence.maxTokens) return FINISH.length;
  }
  return FINISH.none;
}
