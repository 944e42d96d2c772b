import type { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { StepPlan } from "./step-plan.ts";

/** Part of the KV blocks kept free at admission, so that running sequences can grow for a while before one gives way. */
const WATERMARK = 0.01;

/** refused: it has been ended, and others may take its turn. */
export type Admitted = "admitted" | "waits" | "refused";

/** Gives waiting sequences a slot and the blocks of all their known tokens, or says that they have to wait. */
export class Admission {
  readonly #scheduler: Scheduler;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /**
   * Preempts running sequences for a waiting one of higher priority that does not fit. Before anything is planned: who
   * gives way is in no plan yet.
   */
  yieldToPriority(): void {
    const { queue, running } = this.#scheduler;
    for (const group of queue.classes) {
      const least = running.leastUrgent();
      if (!least || least.group.priority <= group.priority) return;
      const sequence = group.nextLane(0, true)?.peek();
      if (!sequence) continue;
      this.#makeRoom(sequence);
      return;
    }
  }

  /** Tries to admit a waiting sequence. */
  admit(sequence: Sequence, plan: StepPlan): Admitted {
    const scheduler = this.#scheduler;
    if (!this.#fits(sequence)) return "waits";
    const parent = this.#parentOf(sequence);
    const useCache = this.#mayUseCache(sequence);
    const slot = scheduler.slots.take();
    sequence.slot = slot;
    if (!scheduler.setSlot(sequence)) {
      sequence.slot = -1;
      scheduler.slots.putBack(slot);
      return "refused";
    }
    scheduler.queue.remove(sequence);
    sequence.state = "running";
    sequence.run++;
    scheduler.blocks.admit(sequence, parent, useCache, plan.copies);
    sequence.prefilling = true;
    scheduler.running.prefilling.add(sequence);
    scheduler.queue.classOf(sequence).laneOf(sequence).active.push(sequence);
    if (!sequence.started) {
      sequence.started = true;
      // What a choice shares with its request's first one came from no cache.
      scheduler.onStart(sequence, parent ? 0 : Math.min(sequence.numScheduled, sequence.numPrompt));
    }
    return "admitted";
  }

  #makeRoom(sequence: Sequence): void {
    const { running, slots } = this.#scheduler;
    while (!this.#fits(sequence)) {
      // A slot that rests until its step is done will do: no one needs to give way for it.
      const slotsComing = slots.numFree === 0 && running.size < this.#scheduler.maxNumSeqs;
      if (slotsComing || !this.#lowerOnesSuffice(sequence)) return;
      this.#scheduler.preempt(running.leastUrgent()!);
    }
  }

  #fits(sequence: Sequence): boolean {
    const { running, slots, blocks, maxNumSeqs } = this.#scheduler;
    if (running.size >= maxNumSeqs || slots.numFree === 0) return false;
    // Alone, it may have everything.
    const reserve = running.size === 0 ? 0 : Math.ceil(blocks.numBlocks * WATERMARK);
    return blocks.canAdmit(sequence, this.#parentOf(sequence), this.#mayUseCache(sequence), reserve);
  }

  /** Whether there is a running sequence of lower priority, and all of them together hold enough. */
  #lowerOnesSuffice(sequence: Sequence): boolean {
    const { running, blocks } = this.#scheduler;
    let held = blocks.numAvailable;
    let any = false;
    for (const other of running) {
      if (other.group.priority <= sequence.group.priority) continue;
      any = true;
      held += other.numBlocks - other.firstBlock;
    }
    return any && held >= blocks.blocksFor(sequence.numTokens);
  }

  /** The first choice of the request, where its prompt blocks are there to be shared. */
  #parentOf(sequence: Sequence): Sequence | undefined {
    const first = sequence.group.choices[0]!;
    if (first === sequence || sequence.numOutput > 0) return undefined;
    return this.#scheduler.blocks.canFork(first) ? first : undefined;
  }

  /** Prompt logprobs need every prompt token computed. */
  #mayUseCache(sequence: Sequence): boolean {
    return sequence.numScored >= sequence.numPrompt;
  }
}
