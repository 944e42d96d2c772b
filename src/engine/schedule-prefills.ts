import type { Lane } from "./lane.ts";
import type { PriorityClass } from "./priority-class.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { StepPlan } from "./step-plan.ts";

/** Part of the ITL target that a step is planned to take: the target is for the slow ones, not for the mean. */
const AIM = 0.9;

/**
 * Plans prefill chunks in what the decodes left of the step: by priority, then by the lane that is owed most. A step that
 * ends a prompt is not made longer by longer prompts, since the first token comes with the step: they had their turn
 * before it or have it in the next.
 */
export function schedulePrefills(scheduler: Scheduler, plan: StepPlan, only?: Sequence): void {
  let budget = chunkBudget(scheduler, plan);
  let mayAdmit = only === undefined;
  /** Lanes of prompts longer than one that ends here, a bit each. */
  let longer = 0;
  for (const group of scheduler.queue.classes) {
    // Lanes that can do nothing more in this step, a bit each.
    let blocked = longer;
    for (let lane = group.nextLane(blocked, mayAdmit); lane && budget > 0; lane = group.nextLane(blocked, mayAdmit)) {
      const sequence = lane.active.find((candidate) => !only || candidate === only);
      if (sequence) {
        const count = planChunk(scheduler, plan, group, lane, sequence, budget);
        budget -= count;
        if (sequence.prefilling) blocked |= 1 << lane.index;
        else if (!lane.exempt) longer |= -2 << lane.index;
        blocked |= longer;
        continue;
      }
      const next = mayAdmit ? lane.peek() : undefined;
      if (!next) {
        blocked |= 1 << lane.index;
        continue;
      }
      // Whoever is next and does not fit yet keeps its turn: others who are smaller may not overtake it for ever.
      if (!scheduler.admission.admit(next, plan)) mayAdmit = false;
    }
  }
}

/**
 * Prefill tokens of this step: what keeps it under the ITL target, for the streams that run and for whoever arrives
 * while it computes; always at least a block, so that prompts go on whatever the load.
 */
function chunkBudget(scheduler: Scheduler, plan: StepPlan): number {
  const room = scheduler.maxTokens - plan.numTokens;
  const { itlTargetMs } = scheduler.options;
  if (itlTargetMs === 0) return room;
  let context = 0;
  for (const sequence of scheduler.running.prefilling) context = Math.max(context, sequence.numScheduled);
  const budgetMs = itlTargetMs * AIM;
  const within = scheduler.costs.prefillTokensWithin(budgetMs, plan.numDecodes, plan.numContext, context);
  return Math.min(room, Math.max(within, scheduler.info.blockSize));
}

/** Plans the next chunk of an admitted sequence; returns its tokens. */
function planChunk(
  scheduler: Scheduler,
  plan: StepPlan,
  group: PriorityClass,
  lane: Lane,
  sequence: Sequence,
  budget: number,
): number {
  const start = sequence.numScheduled;
  let count = Math.min(budget, sequence.numTokens - start);
  const rowsLeft = scheduler.info.maxLogitRows - plan.numRows;
  const scoreFrom = Math.max(start, sequence.numScoredScheduled - 1);
  const scoreUntil = (until: number) => Math.min(until, sequence.numPrompt - 1);
  // Scoring rows and the sampling row at the end must fit into the step.
  const mostRows = rowsLeft - (start + count === sequence.numTokens ? 1 : 0);
  if (mostRows < 0) return 0;
  if (scoreUntil(start + count) - scoreFrom > mostRows) count = scoreFrom + mostRows - start;
  if (count <= 0) return 0;
  const end = start + count;
  const scoreRows = Math.max(0, scoreUntil(end) - scoreFrom);
  const last = end === sequence.numTokens;
  plan.add(sequence, count, last ? 1 : 0, scoreFrom, scoreRows);
  sequence.numScheduled = end;
  sequence.numScoredScheduled += scoreRows;
  sequence.group.account.deficit -= count;
  group.charge(lane, count);
  if (last) {
    sequence.numPending = 1;
    sequence.prefilling = false;
    lane.deactivate(sequence);
    scheduler.running.startDecoding(sequence);
  }
  return count;
}
