import type { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { StepPlan } from "./step-plan.ts";

/**
 * Plans one token, and its drafts, for each decoding sequence (or for `only` one), the most urgent first. Where blocks
 * run out the least urgent sequence gives way; as it comes last, it has not been planned yet.
 */
export function scheduleDecodes(scheduler: Scheduler, plan: StepPlan, only?: Sequence): void {
  const { blocks, running } = scheduler;
  const { decoding } = running;
  for (let i = 0; i < decoding.length; i++) {
    const sequence = decoding[i]!;
    if (only && sequence !== only) continue;
    const { length } = sequence;
    // It ends when the token in flight is known.
    if (length - sequence.numPrompt >= sequence.maxTokens) continue;
    if (sequence.numScheduled >= length) continue;
    if (!makeRoom(scheduler, sequence, length)) break;
    blocks.grow(sequence, length);
    const numDrafts = planDrafts(scheduler, plan, sequence);
    if (numDrafts > 0) blocks.grow(sequence, length + numDrafts);
    plan.add(sequence, 1 + numDrafts, 1 + numDrafts, 0, 0);
    plan.numDecodes += 1 + numDrafts;
    sequence.numScheduled += 1 + numDrafts;
    sequence.numPending++;
  }
}

/** Preempts until `sequence` can grow to numTokens. False when it was itself the one to give way. */
function makeRoom(scheduler: Scheduler, sequence: Sequence, numTokens: number): boolean {
  while (!scheduler.blocks.canGrow(sequence, numTokens)) {
    const victim = scheduler.running.leastUrgent()!;
    scheduler.preempt(victim);
    if (victim === sequence) return false;
  }
  return true;
}

/** Drafts only into tokens, rows and blocks that nobody else needs in this step: no one waits for a guess. */
function planDrafts(scheduler: Scheduler, plan: StepPlan, sequence: Sequence): number {
  if (!scheduler.drafter || sequence.numPending > 0) return 0;
  const others = scheduler.running.decoding.length - plan.numSeqs - 1;
  const most = Math.min(
    scheduler.options.speculativeTokens,
    // The step samples one token more than there are drafts.
    sequence.maxTokens - sequence.numOutput - 1,
    scheduler.info.maxModelLen - sequence.length,
    scheduler.maxTokens - plan.numTokens - others - 1 - scheduler.info.blockSize,
    scheduler.info.maxLogitRows - plan.numRows - others - 1,
  );
  if (most <= 0) return 0;
  const count = scheduler.drafter.draft(sequence, most, plan.drafts, plan.numSeqs * plan.maxDrafts);
  return scheduler.blocks.canGrow(sequence, sequence.length + count) ? count : 0;
}
