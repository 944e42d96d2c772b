import { Lane } from "./lane.ts";
import type { Sequence } from "./sequence.ts";

/** Prompts are sorted into lanes by the tokens left to compute: up to these, in order. */
const LANE_LIMITS_TOKENS = [256, 2048, Number.POSITIVE_INFINITY] as const;

/**
 * How far a lane's credit may run ahead or behind. It is the burst that a lane which was quiet may have at once (16
 * prompts of 128 tokens), and twice it bounds how long any lane waits for others.
 */
const MAX_CREDIT_TOKENS = 2048;

/** Tokens a tenant gains a round. Large beside a block, so that rounds are few. */
const QUANTUM_TOKENS = 512;

/**
 * The prefills of one priority, in lanes by length. Whatever is computed is owed in equal parts to all lanes and charged
 * to the one that had it; the lane that is owed most goes first. So a lane with little to do goes first whenever it has
 * something (as sparse flows do in FQ-CoDel, RFC 8290), lanes that always have work share the budget equally, and no
 * lane waits for more than a bounded number of tokens.
 */
export class PriorityClass {
  readonly priority: number;
  /** Sequences that lost their blocks go before everything else of their class. */
  readonly resumed = new Lane(0, true);
  readonly lanes: readonly Lane[] = [this.resumed, ...LANE_LIMITS_TOKENS.map((_, i) => new Lane(i + 1, false))];

  constructor(priority: number) {
    this.priority = priority;
    this.resumed.credit = Number.POSITIVE_INFINITY;
  }

  get isEmpty(): boolean {
    return this.lanes.every((lane) => lane.isEmpty);
  }

  laneFor(numTokensLeft: number): Lane {
    return this.lanes[1 + LANE_LIMITS_TOKENS.findIndex((limit) => numTokensLeft <= limit)]!;
  }

  laneOf(sequence: Sequence): Lane {
    return this.lanes[sequence.lane]!;
  }

  /**
   * The lane that goes on now: the one owed most among those that have a sequence to go on with or, where `mayAdmit`,
   * one to admit, and which `blocked` (a bit a lane) does not exclude.
   */
  nextLane(blocked: number, mayAdmit: boolean): Lane | undefined {
    if (mayAdmit) this.#beginRound();
    let most: Lane | undefined;
    for (const lane of this.lanes) {
      if (blocked & (1 << lane.index) || (most && lane.credit <= most.credit)) continue;
      if (lane.active.length > 0 || (mayAdmit && lane.peek())) most = lane;
    }
    return most;
  }

  /** When no tenant that waits has anything left: as many rounds at once as it takes for the first to have something. */
  #beginRound(): void {
    let best = Number.NEGATIVE_INFINITY;
    for (const lane of this.lanes) best = Math.max(best, lane.bestDeficit());
    if (best > 0 || best === Number.NEGATIVE_INFINITY) return;
    const gain = QUANTUM_TOKENS * Math.ceil((1 - best) / QUANTUM_TOKENS);
    const accounts = new Set(this.lanes.flatMap((lane) => lane.accounts()));
    for (const account of accounts) account.deficit = Math.min(QUANTUM_TOKENS, account.deficit + gain);
  }

  charge(lane: Lane, numTokens: number): void {
    const share = numTokens / LANE_LIMITS_TOKENS.length;
    for (const other of this.lanes) {
      if (other === this.resumed) continue;
      const credit = other.credit + share - (other === lane ? numTokens : 0);
      other.credit = Math.max(-MAX_CREDIT_TOKENS, Math.min(MAX_CREDIT_TOKENS, credit));
    }
  }
}
