/**
 * Which KV blocks take memory, and since when those that nobody references are unused. A block takes memory from its
 * first write until its pages are given back. The books read no clock: the engine sets the time.
 */
export class BlockMemory {
  nowMs = 0;
  numResident = 0;
  readonly #resident: Uint8Array;
  readonly #unusedSinceMs: Float64Array;

  constructor(numBlocks: number) {
    this.#resident = new Uint8Array(numBlocks);
    this.#unusedSinceMs = new Float64Array(numBlocks);
  }

  isResident(block: number): boolean {
    return this.#resident[block] === 1;
  }

  unusedSinceMs(block: number): number {
    return this.#unusedSinceMs[block]!;
  }

  /** The block is handed out, to be written. */
  take(block: number): void {
    this.numResident += 1 - this.#resident[block]!;
    this.#resident[block] = 1;
  }

  /** Its last reference is gone. */
  leave(block: number): void {
    this.#unusedSinceMs[block] = this.nowMs;
  }

  /** Its pages went back to the system. */
  drop(block: number): void {
    this.numResident -= this.#resident[block]!;
    this.#resident[block] = 0;
  }

  /** Blocks may hold pages that an engine before this one wrote. */
  takeAll(): void {
    this.#resident.fill(1);
    this.numResident = this.#resident.length;
  }
}
