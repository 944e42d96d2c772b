import type { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { StepPlan } from "./step-plan.ts";

/** After this many failed steps a sequence has to run alone, so that what fails with it is known to be its own fault. */
const FAULTS_BEFORE_TRIAL = 2;
/** After this many, the last ones alone, it is given up: a poisonous request must not stop the others for ever. */
const MAX_FAULTS = 4;
/** Sequences given up in a row without a step that works: then it is the device, though each failed alone. */
export const MAX_GIVEN_UP_IN_ROW = 16;

/**
 * Puts everything back in line after a failed step: what ran is computed again from its tokens, so that streams pause
 * and lose nothing. `failed` is the plan that failed, `lost` those that were in flight with it. Returns the sequences to
 * give up. The backend has been reset.
 */
export function recover(scheduler: Scheduler, failed: StepPlan, lost: readonly StepPlan[]): Sequence[] {
  for (const plan of [failed, ...lost]) {
    for (let i = 0; i < plan.numSeqs; i++) {
      const sequence = plan.seqs[i]!;
      if (sequence.state === "finished") continue;
      sequence.numPending = 0;
      sequence.numScoredScheduled = sequence.numScored;
      // Preempted while its token was in flight: the token is lost with the step.
      if (sequence.state === "held" && sequence.started) scheduler.queue.pushResumed(sequence);
    }
  }
  for (const sequence of [...scheduler.running]) scheduler.preempt(sequence);
  scheduler.slots.settle(scheduler.submitted);
  // What a failed step left in the cache's blocks is not trusted.
  scheduler.blocks.clearCache();

  const givenUp: Sequence[] = [];
  for (let i = 0; i < failed.numSeqs; i++) {
    const sequence = failed.seqs[i]!;
    if (sequence.state === "finished") continue;
    sequence.faults++;
    // Drafts may not be drafted again.
    const end = failed.starts[i]! + failed.counts[i]! - Math.max(0, failed.sampleRows[i]! - 1);
    sequence.faultPosition = Math.max(sequence.faultPosition, end);
    if (sequence.faults >= MAX_FAULTS) givenUp.push(sequence);
    else if (sequence.faults >= FAULTS_BEFORE_TRIAL && !scheduler.trials.includes(sequence)) {
      scheduler.trials.push(sequence);
    }
  }
  return givenUp;
}

/** A sequence that got past the place where a step failed is no suspect any more. */
export function endTrials(scheduler: Scheduler): void {
  const { trials } = scheduler;
  for (let i = trials.length - 1; i >= 0; i--) {
    if (trials[i]!.faults === 0 || trials[i]!.state === "finished") trials.splice(i, 1);
  }
}
