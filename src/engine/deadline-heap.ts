import type { Sequence } from "./sequence.ts";

/** Sequences with deadlines, earliest first: a binary heap. Sequences that ended leave when they come up or by purge. */
export class DeadlineHeap {
  readonly #heap: Sequence[] = [];
  #purgeAt = 1024;

  get size(): number {
    return this.#heap.length;
  }

  push(sequence: Sequence): void {
    if (this.#heap.length >= this.#purgeAt) this.#purge();
    const heap = this.#heap;
    let at = heap.length;
    heap.push(sequence);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.group.deadlineMs <= sequence.group.deadlineMs) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = sequence;
  }

  /** The next sequence that is still alive and whose deadline has passed. */
  popExpired(nowMs: number): Sequence | undefined {
    for (let top = this.#heap[0]; top; top = this.#heap[0]) {
      if (top.state !== "finished" && top.group.deadlineMs > nowMs) return undefined;
      this.#pop();
      if (top.state !== "finished") return top;
    }
    return undefined;
  }

  #pop(): void {
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) this.#sink(last);
  }

  /** Puts a sequence into the empty place at the top. */
  #sink(sequence: Sequence): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.group.deadlineMs < heap[child]!.group.deadlineMs) child++;
      if (heap[child]!.group.deadlineMs >= sequence.group.deadlineMs) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = sequence;
  }

  /** Long deadlines of short requests would pile up: forget the ended ones once there may be as many as live ones. */
  #purge(): void {
    const alive = this.#heap.filter((sequence) => sequence.state !== "finished");
    alive.sort((a, b) => a.group.deadlineMs - b.group.deadlineMs);
    this.#heap.length = 0;
    this.#heap.push(...alive);
    this.#purgeAt = Math.max(1024, 2 * alive.length);
  }
}
