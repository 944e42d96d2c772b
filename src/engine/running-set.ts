import { compareUrgency, type Sequence } from "./sequence.ts";

/** Sequences that hold a slot and blocks. Decoding ones are kept in order of urgency, the first to lose theirs last. */
export class RunningSet {
  readonly decoding: Sequence[] = [];
  readonly prefilling = new Set<Sequence>();

  get size(): number {
    return this.decoding.length + this.prefilling.size;
  }

  startDecoding(sequence: Sequence): void {
    this.prefilling.delete(sequence);
    let at = this.decoding.length;
    while (at > 0 && compareUrgency(this.decoding[at - 1]!, sequence) > 0) at--;
    this.decoding.splice(at, 0, sequence);
  }

  remove(sequence: Sequence): void {
    if (this.prefilling.delete(sequence)) return;
    const at = this.decoding.indexOf(sequence);
    if (at >= 0) this.decoding.splice(at, 1);
  }

  /** Who gives way first: the youngest of the lowest priority; undefined when nothing runs. */
  leastUrgent(): Sequence | undefined {
    let least = this.decoding.at(-1);
    for (const sequence of this.prefilling) if (!least || compareUrgency(sequence, least) > 0) least = sequence;
    return least;
  }

  *[Symbol.iterator](): Generator<Sequence> {
    yield* this.decoding;
    yield* this.prefilling;
  }
}
