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
  let mayAdmit = only === undefined;
  /** Lanes of prompts longer than one that ends here, a bit each. */
  let longer = 0;
  for (const group of scheduler.queue.classes) {
    // Lanes that can do nothing more in this step, a bit each.
    let blocked = longer;
    for (let lane = group.nextLane(blocked, mayAdmit); lane; lane = group.nextLane(blocked, mayAdmit)) {
      const sequence = lane.active.find((candidate) => !only || candidate === only);
      if (sequence) {
        planChunk(scheduler, plan, group, lane, sequence, chunkBudget(scheduler, plan, sequence.numScheduled));
        if (sequence.prefilling) blocked |= 1 << lane.index;
        else if (!lane.exempt) longer |= -2 << lane.index;
        blocked |= longer;
        continue;
      }
      if (chunkBudget(scheduler, plan, 0) <= 0) return;
      const next = mayAdmit ? lane.peek() : undefined;
      if (!next) {
        blocked |= 1 << lane.index;
        continue;
      }
      // Whoever is next and does not fit yet keeps its turn: others who are smaller may not overtake it for ever.
      if (scheduler.admission.admit(next, plan) === "waits") mayAdmit = false;
    }
  }
}

/**
 * Tokens that this step has room for of a prompt of which `start` are computed: what keeps it under the ITL target, for
 * the streams that run and for whoever arrives while it computes; in all at least a block, so that prompts go on
 * whatever the load.
 */
function chunkBudget(scheduler: Scheduler, plan: StepPlan, start: number): number {
  const { costs, info, options } = scheduler;
  const room = scheduler.maxTokens - plan.numTokens;
  if (options.itlTargetMs === 0) return room;
  const { numDecodes, numPrefill, numContext } = plan;
  const within = costs.prefillTokensWithin(options.itlTargetMs * AIM, numDecodes, numPrefill, numContext, start);
  return Math.min(room, Math.max(within, info.blockSize - numPrefill));
}

/** Plans the next chunk of an admitted sequence, if there is room for any of it. */
function planChunk(
  scheduler: Scheduler,
  plan: StepPlan,
  group: PriorityClass,
  lane: Lane,
  sequence: Sequence,
  budget: number,
): void {
  const start = sequence.numScheduled;
  let count = Math.min(budget, sequence.numTokens - start);
  const rowsLeft = scheduler.info.maxLogitRows - plan.numRows;
  const scoreFrom = Math.max(start, sequence.numScoredScheduled - 1);
  const scoreUntil = (until: number) => Math.min(until, sequence.numPrompt - 1);
  // Scoring rows and the sampling row at the end must fit into the step.
  const mostRows = rowsLeft - (start + count === sequence.numTokens ? 1 : 0);
  if (mostRows < 0) return;
  if (scoreUntil(start + count) - scoreFrom > mostRows) count = scoreFrom + mostRows - start;
  if (count <= 0) return;
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
}
