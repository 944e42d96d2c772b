import type { CostModel } from "./cost-model.ts";
import type { StepPlan } from "./step-plan.ts";

/** Steps seen before their predicted time is relied on. */
const MIN_SAMPLES = 32;
/** How long before the end of a step the next is decided: time to plan, pack and submit it, and to be woken late. */
const LEAD_MS = 1.5;
/** At least so much of the step: two deviations of its predicted time, where that is more. */
const LEAD_SHARE = 0.1;

/** When steps end: to tell how long the device had nothing to do, and how long the next step may wait to be decided. */
export class StepTiming {
  /** End of the last step on the engine's clock; 0 after a rest or a fault: time counts from the next step's end. */
  lastDoneMs = 0;
  /** What the device had computed by then, summed. */
  #deviceMs = 0;
  /** Not yet reported; less than nothing while a step's end is noticed early or late. */
  #idleMs = 0;

  /**
   * A step is done, after which the device has computed deviceMs in all. Returns the idle time found with it. While there
   * is work the device is idle whenever it computes no step: also between a step's end and the submission of a next one
   * that was decided too late, which the engine's thread sees only when it waits.
   */
  idleMs(doneMs: number, deviceMs: number): number {
    if (this.lastDoneMs > 0) this.#idleMs += doneMs - this.lastDoneMs - (deviceMs - this.#deviceMs);
    else this.#idleMs = 0;
    this.#deviceMs = deviceMs;
    if (this.#idleMs <= 0) return 0;
    const found = this.#idleMs;
    this.#idleMs = 0;
    return found;
  }

  /** Time until which the step after `plan` can wait to be decided; now, when there is none or its time is not yet known. */
  decideByMs(plan: StepPlan | undefined, costs: CostModel): number {
    if (!plan || costs.numSamples < MIN_SAMPLES) return 0;
    const ms = costs.predictMs(plan.numDecodes, plan.numPrefill, plan.numContext);
    const leadMs = LEAD_MS + Math.max(LEAD_SHARE, 2 * costs.deviation) * ms;
    return Math.max(plan.submittedMs, this.lastDoneMs) + ms - leadMs;
  }
}
