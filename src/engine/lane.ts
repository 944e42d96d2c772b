import type { Sequence } from "./sequence.ts";
import type { TenantAccount } from "./tenant-accounts.ts";

/** Waiting sequences of one tenant in one lane, in order of arrival: a linked list, so that an abort costs O(1). */
class TenantQueue {
  readonly account: TenantAccount;
  head: Sequence | undefined;
  #tail: Sequence | undefined;

  constructor(account: TenantAccount) {
    this.account = account;
  }

  /** Keeps urgency order among equals: resumed and forked sequences are older than what waits. */
  insert(sequence: Sequence): void {
    let before = this.#tail;
    while (before && before.group.arrival > sequence.group.arrival) before = before.prev;
    const after = before ? before.next : this.head;
    sequence.prev = before;
    sequence.next = after;
    if (before) before.next = sequence;
    else this.head = sequence;
    if (after) after.prev = sequence;
    else this.#tail = sequence;
  }

  remove(sequence: Sequence): void {
    if (sequence.prev) sequence.prev.next = sequence.next;
    else this.head = sequence.next;
    if (sequence.next) sequence.next.prev = sequence.prev;
    else this.#tail = sequence.prev;
    sequence.prev = undefined;
    sequence.next = undefined;
  }
}

/**
 * Waiting prefills of similar length, shared among tenants by deficit round robin. Lanes share the prefill budget of a
 * priority class by credit, so that long prompts cannot hold up short ones, nor the reverse: see priority-class.ts.
 */
export class Lane {
  readonly index: number;
  /** Tokens that this lane is owed, see priority-class.ts. */
  credit = 0;
  /** Admitted sequences whose prefill is not done, in order of admission. At most one is partly computed, save after faults. */
  readonly active: Sequence[] = [];
  readonly #queues: TenantQueue[] = [];
  readonly exempt: boolean;
  #turn = 0;

  /** `exempt`: its sequences go whatever their tenants have used. */
  constructor(index: number, exempt: boolean) {
    this.index = index;
    this.exempt = exempt;
  }

  get isEmpty(): boolean {
    return this.active.length === 0 && this.#queues.length === 0;
  }

  push(sequence: Sequence): void {
    const { account } = sequence.group;
    let queue = this.#queues.find((candidate) => candidate.account === account);
    if (!queue) this.#queues.push((queue = new TenantQueue(account)));
    queue.insert(sequence);
    sequence.queue = this;
  }

  /** Takes a sequence out of the line: admitted, aborted or expired. */
  unlink(sequence: Sequence): void {
    const at = this.#queues.findIndex((candidate) => candidate.account === sequence.group.account);
    const queue = this.#queues[at]!;
    queue.remove(sequence);
    sequence.queue = undefined;
    if (queue.head) return;
    this.#queues.splice(at, 1);
    if (at < this.#turn) this.#turn--;
    if (this.#turn >= this.#queues.length) this.#turn = 0;
  }

  /** Who is next: the first sequence of the next tenant, in turn, that has a positive deficit; undefined: nobody has. */
  peek(): Sequence | undefined {
    const queues = this.#queues;
    for (let i = 0; i < queues.length; i++) {
      const at = (this.#turn + i) % queues.length;
      const queue = queues[at]!;
      if (queue.account.deficit <= 0 && !this.exempt) continue;
      this.#turn = at;
      return queue.head;
    }
    return undefined;
  }

  /** The most that any of its tenants has left; -Infinity when nobody waits. */
  bestDeficit(): number {
    let best = Number.NEGATIVE_INFINITY;
    for (const { account } of this.#queues) if (account.deficit > best) best = account.deficit;
    return best;
  }

  accounts(): TenantAccount[] {
    return this.#queues.map(({ account }) => account);
  }

  /** Removes a sequence whose prefill is done or that lost its blocks. */
  deactivate(sequence: Sequence): void {
    const at = this.active.indexOf(sequence);
    if (at >= 0) this.active.splice(at, 1);
  }

  *waiting(): Generator<Sequence> {
    for (const queue of this.#queues) {
      for (let sequence = queue.head; sequence; sequence = sequence.next) yield sequence;
    }
  }
}
