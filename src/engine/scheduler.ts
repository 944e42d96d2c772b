import type { BackendInfo } from "../backend/backend.ts";
import { Admission } from "./admission.ts";
import { BlockManager } from "./block-manager.ts";
import { CostModel } from "./cost-model.ts";
import type { Drafter } from "./drafter.ts";
import type { EngineOptions } from "./engine-options.ts";
import { RunningSet } from "./running-set.ts";
import { scheduleDecodes } from "./schedule-decodes.ts";
import { schedulePrefills } from "./schedule-prefills.ts";
import type { Sequence } from "./sequence.ts";
import { SlotPool } from "./slot-pool.ts";
import type { StepPlan } from "./step-plan.ts";
import { WaitingQueue } from "./waiting-queue.ts";

/**
 * Decides what each step computes: one token of every decoding sequence first, then prefill chunks in what is left.
 * Synchronous, without I/O and without a clock. The parts share this state; each concern is a file:
 * schedule-decodes.ts, schedule-prefills.ts, admission.ts.
 */
export class Scheduler {
  readonly info: BackendInfo;
  readonly options: EngineOptions;
  readonly maxNumSeqs: number;
  readonly blocks: BlockManager;
  readonly slots: SlotPool;
  readonly queue = new WaitingQueue();
  readonly running = new RunningSet();
  readonly costs = new CostModel();
  readonly drafter: Drafter | undefined;
  readonly admission: Admission;
  /** Sequences that must prove themselves alone after failed steps, see recovery.ts. */
  readonly trials: Sequence[] = [];
  /** Number of the last step submitted and of the last one done. */
  submitted = 0;
  done = 0;
  numPreemptions = 0;
  /** Told of each sequence that loses its blocks. */
  onPreempt: (sequence: Sequence) => void = () => {};
  /** Told of each sequence that gets blocks for the first time, with the prompt tokens found in the cache. */
  onStart: (sequence: Sequence, cachedTokens: number) => void = () => {};
  /** Gives a slot its sampling state. False where the backend refuses the sequence, which has then been ended. */
  readonly setSlot: (sequence: Sequence) => boolean;

  constructor(
    info: BackendInfo,
    options: EngineOptions,
    setSlot: (sequence: Sequence) => boolean,
    drafter: Drafter | undefined,
  ) {
    this.info = info;
    this.options = options;
    this.setSlot = setSlot;
    this.drafter = drafter;
    // A step must have room for a token of every sequence and a block of prefill.
    const room = Math.max(1, Math.min(options.maxNumBatchedTokens, info.maxBatchedTokens) - info.blockSize);
    this.maxNumSeqs = Math.min(options.maxNumSeqs, info.maxNumSeqs, info.maxLogitRows, room);
    this.slots = new SlotPool(info.maxNumSeqs);
    this.blocks = new BlockManager({
      numBlocks: info.numBlocks,
      blockSize: info.blockSize,
      numSlots: info.maxNumSeqs,
      maxModelLen: info.maxModelLen,
      slidingWindow: info.slidingWindow,
      prefixCaching: options.prefixCaching,
      hashSeed: options.hashSeed,
    });
    this.admission = new Admission(this);
  }

  get maxTokens(): number {
    return Math.min(this.options.maxNumBatchedTokens, this.info.maxBatchedTokens);
  }

  /** Fills `plan`; an empty plan means that nothing can be computed before a step in flight is done, or at all. */
  schedule(plan: StepPlan): void {
    plan.reset();
    // Nobody runs beside a suspect, also not while it waits for a step in flight: blame would fall on them.
    if (this.trials.length > 0 && (this.#scheduleTrial(plan) || this.done < this.submitted)) return;
    this.admission.yieldToPriority();
    scheduleDecodes(this, plan);
    schedulePrefills(this, plan);
    this.queue.dropEmptyClasses();
  }

  /** Takes blocks and slot away; the sequence will be computed again from its tokens. */
  preempt(sequence: Sequence): void {
    this.vacate(sequence);
    this.numPreemptions++;
    this.onPreempt(sequence);
    // A token in flight is still valid; the sequence waits for it before it lines up.
    if (sequence.numPending > 0) sequence.state = "held";
    else this.queue.pushResumed(sequence);
  }

  /** Gives back what a running sequence holds. */
  vacate(sequence: Sequence): void {
    if (sequence.prefilling) this.queue.classOf(sequence).laneOf(sequence).deactivate(sequence);
    this.running.remove(sequence);
    this.blocks.release(sequence);
    this.slots.giveBack(sequence.slot, this.submitted);
    if (this.done === this.submitted) this.slots.settle(this.done);
    sequence.slot = -1;
    sequence.prefilling = false;
  }

  /** One suspect alone in a step, so that a failure is its own. False when it cannot run yet. */
  #scheduleTrial(plan: StepPlan): boolean {
    const suspect = this.trials[0]!;
    while (suspect.state === "waiting" && this.admission.admit(suspect, plan) === "waits") {
      // The others rest: what they hold is the suspect's to have.
      const victim = this.running.leastUrgent();
      if (!victim || this.done < this.submitted) return false;
      this.preempt(victim);
    }
    if (suspect.state !== "running") return false;
    if (suspect.prefilling) schedulePrefills(this, plan, suspect);
    else scheduleDecodes(this, plan, suspect);
    return plan.numSeqs > 0;
  }
}
