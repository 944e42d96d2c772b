import type { PromptScale } from "./token-counter.ts";

export interface Turn {
  /** The user's message, or the prompt of a completion. */
  content: string;
  maxTokens: number;
}

/** One user's conversation: its turns are sent one after the other, each with the replies before it. */
export interface Session {
  index: number;
  turns: Turn[];
}

/** Where sessions come from. A session is a function of (seed, cell, index): every endpoint is asked the same. */
export interface Workload {
  /** One line for the report. */
  readonly description: string;
  /** Sessions before the workload repeats itself; a repeat may hit a server's prefix cache. */
  readonly distinct: number;
  /** Present where the workload has its own arrival times. */
  readonly timestampsMs: readonly number[] | undefined;
  /** Whether a reply's text is needed for the next turn. */
  readonly multiTurn: boolean;
  session(cell: number, index: number, scale: PromptScale): Session;
}

/** The cell number under which warm-up prompts are drawn, so that they share nothing with measured ones. */
export const WARMUP_CELL = 0xffff;
