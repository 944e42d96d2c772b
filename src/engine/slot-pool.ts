/**
 * Sampling slots. A slot may not be given new parameters while a step that uses it is in flight, so a slot given back
 * rests until the last step submitted by then is done.
 */
export class SlotPool {
  readonly size: number;
  readonly #free: number[];
  /** Slots given back, and the step to wait for; in order of that step. */
  readonly #resting: { slot: number; step: number }[] = [];

  constructor(size: number) {
    this.size = size;
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
  }

  get numFree(): number {
    return this.#free.length;
  }

  take(): number {
    const slot = this.#free.pop();
    if (slot === undefined) throw new Error("no sampling slot is free: look at numFree first");
    return slot;
  }

  /** A slot that was taken and not used. */
  putBack(slot: number): void {
    this.#free.push(slot);
  }

  /** `step`: number of the last step submitted. */
  giveBack(slot: number, step: number): void {
    this.#resting.push({ slot, step });
  }

  /** Steps up to `step` are done. */
  settle(step: number): void {
    while (this.#resting.length > 0 && this.#resting[0]!.step <= step) this.#free.push(this.#resting.shift()!.slot);
  }
}
