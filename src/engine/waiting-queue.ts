import { PriorityClass } from "./priority-class.ts";
import type { Sequence } from "./sequence.ts";

/** Everything that waits for blocks and slots or is being prefilled, by priority; lower values go first. */
export class WaitingQueue {
  /** Sorted by priority; empty classes are dropped. */
  readonly classes: PriorityClass[] = [];
  /** Sequences that wait. */
  length = 0;
  /** Tokens that the waiting sequences have yet to compute, cached prefixes not subtracted. */
  numTokens = 0;

  /** `numTokensLeft`: what it has to compute, cached prefix excluded. */
  push(sequence: Sequence, numTokensLeft: number): void {
    const group = this.#classOf(sequence.group.priority);
    const lane = group.laneFor(numTokensLeft);
    sequence.lane = lane.index;
    this.#enqueue(sequence, group);
  }

  /** For a sequence that was preempted: before all others of its priority. */
  pushResumed(sequence: Sequence): void {
    const group = this.#classOf(sequence.group.priority);
    sequence.lane = group.resumed.index;
    this.#enqueue(sequence, group);
  }

  /** Takes a waiting sequence out. */
  remove(sequence: Sequence): void {
    sequence.queue!.unlink(sequence);
    this.length--;
    this.numTokens -= sequence.numTokens;
  }

  /** The class of a sequence that waits or prefills. */
  classOf(sequence: Sequence): PriorityClass {
    return this.#classOf(sequence.group.priority);
  }

  dropEmptyClasses(): void {
    for (let i = this.classes.length - 1; i >= 0; i--) if (this.classes[i]!.isEmpty) this.classes.splice(i, 1);
  }

  *waiting(): Generator<Sequence> {
    for (const group of this.classes) for (const lane of group.lanes) yield* lane.waiting();
  }

  #enqueue(sequence: Sequence, group: PriorityClass): void {
    sequence.state = "waiting";
    group.lanes[sequence.lane]!.push(sequence);
    this.length++;
    this.numTokens += sequence.numTokens;
  }

  #classOf(priority: number): PriorityClass {
    let at = 0;
    while (at < this.classes.length && this.classes[at]!.priority < priority) at++;
    let found = this.classes[at];
    if (found?.priority !== priority) this.classes.splice(at, 0, (found = new PriorityClass(priority)));
    return found;
  }
}
