import { DeadlineHeap } from "./deadline-heap.ts";
import type { AddRequest } from "./messages.ts";
import { type RequestGroup, Sequence } from "./sequence.ts";
import { TenantAccounts } from "./tenant-accounts.ts";

/** The sequences that have not ended, with what each has for as long as it lives: its id, its tenant's account, its deadline. */
export class LiveSequences {
  readonly #byId = new Map<number, Sequence>();
  readonly #accounts: TenantAccounts;
  readonly #deadlines = new DeadlineHeap();
  #numArrived = 0;

  /** sharePrefixCache: tenants find each other's blocks. */
  constructor(sharePrefixCache: boolean) {
    this.#accounts = new TenantAccounts(sharePrefixCache);
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: number): Sequence | undefined {
    return this.#byId.get(id);
  }

  /** Makes a request's choices. All of them, or none where it throws. */
  open(request: AddRequest, maxModelLen: number, nowMs: number): RequestGroup {
    const { prompt, sampling, deadlineInMs } = request;
    const group: RequestGroup = {
      prompt,
      sampling: { ...sampling, maxTokens: Math.min(sampling.maxTokens, maxModelLen - prompt.length) },
      priority: request.priority,
      account: this.#accounts.open(request.tenant),
      arrival: this.#numArrived++,
      arrivedMs: nowMs,
      deadlineMs: deadlineInMs === undefined ? Number.POSITIVE_INFINITY : nowMs + deadlineInMs,
      choices: [],
    };
    // All are made before any is known here: what fails leaves nothing behind.
    for (const choice of request.choices) {
      group.choices.push(new Sequence(choice.id, group, choice.index, choice.outputTokens));
    }
    for (const sequence of group.choices) {
      group.account.numSequences++;
      this.#byId.set(sequence.id, sequence);
      if (group.deadlineMs < Number.POSITIVE_INFINITY) this.#deadlines.push(sequence);
    }
    return group;
  }

  /** A sequence has ended. */
  close(sequence: Sequence): void {
    this.#byId.delete(sequence.id);
    this.#accounts.leave(sequence.group.account);
  }

  /** The next one whose deadline has passed. */
  popExpired(nowMs: number): Sequence | undefined {
    return this.#deadlines.popExpired(nowMs);
  }
}
