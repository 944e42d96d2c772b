import type { SlotParams } from "../backend/backend.ts";
import { choiceSeed } from "../core/sampling-params.ts";
import type { ChainTail } from "./prefix-cache.ts";
import type { TenantAccount } from "./tenant-accounts.ts";

/** What the engine needs of SamplingParams; stop strings and text flags stay with the replica. */
export interface EngineSampling extends Omit<SlotParams, "stopIds" | "promptTokens" | "outputTokens"> {
  /** Most output tokens, at least 1. */
  maxTokens: number;
  /** Token ids that end the sequence: the model's own end tokens (unless ignored) and the request's. */
  stopIds: Int32Array;
  /** Top alternatives a token, -1: no logprobs. */
  logprobs: number;
  /** The same for prompt tokens. */
  promptLogprobs: number;
}

/** What the choices of one request share. */
export interface RequestGroup {
  readonly prompt: Int32Array;
  readonly sampling: EngineSampling;
  readonly priority: number;
  readonly account: TenantAccount;
  /** Order of arrival; later is younger. */
  readonly arrival: number;
  readonly arrivedMs: number;
  /** On the engine's clock; Infinity: none. */
  readonly deadlineMs: number;
  readonly choices: Sequence[];
}

export type SequenceState = "held" | "waiting" | "running" | "finished";

/**
 * One choice of a request.
 *
 *   tokens:  [ prompt ............ | output ... | pending ]
 *            0          numPrompt          numTokens   numTokens + numPending
 *
 *   KV of [0, numScheduled) is written once every submitted step is done; [0, numCommitted) is known to be written.
 *   A pending token was sampled by a step that has not been waited for: its id is not known here yet.
 */
export class Sequence {
  /** Unique while the sequence lives; chosen by the replica. */
  readonly id: number;
  readonly group: RequestGroup;
  /** Which of the request's choices. */
  readonly index: number;
  /** Seed of this choice. */
  readonly seed: number | bigint;
  readonly numPrompt: number;
  readonly maxTokens: number;
  tokens: Int32Array;
  numTokens: number;
  numPending = 0;
  numScheduled = 0;
  numCommitted = 0;

  /** held: waits for its group's first choice to compute the prompt. */
  state: SequenceState = "held";
  /** Grows with every admission: a step in flight may outlive the run it belongs to. */
  run = 0;
  slot = -1;
  /** True until the last token known at admission has been computed. */
  prefilling = false;
  /** The whole prompt is in submitted steps of this run: other choices may share its blocks. */
  promptSubmitted = false;
  /** It was scheduled at least once; the replica has been told. */
  started = false;
  /** Prompt tokens scored so far, the first (which nothing predicts) included; each is reported once whatever happens. */
  numScored: number;
  /** The same, steps in flight included. */
  numScoredScheduled: number;

  // Owned by the block manager.
  /** Blocks [firstBlock, numBlocks) of the slot's table are held; the ones before left a sliding window. */
  firstBlock = 0;
  numBlocks = 0;
  /** Blocks of this run that were offered to the prefix cache. */
  numPublished = 0;
  readonly chain: ChainTail = { block: -1, generation: 0, lo: 0, hi: 0, salt: 0, broken: false };

  // Owned by the waiting queue.
  next: Sequence | undefined;
  prev: Sequence | undefined;
  queue: { unlink(sequence: Sequence): void } | undefined;
  /** Index of the size lane it prefills in. */
  lane = 0;

  // Owned by recovery.
  /** Failed steps that carried this sequence since it last got past the place where one failed. */
  faults = 0;
  /** Tokens it has to have computed to be past that place. */
  faultPosition = 0;

  // Owned by the drafter.
  /** Tokens the drafter has indexed. */
  draftIndex: DraftIndex | undefined;

  constructor(id: number, group: RequestGroup, index: number, outputTokens: Int32Array) {
    this.id = id;
    this.group = group;
    this.index = index;
    this.seed = choiceSeed(group.sampling.seed, index);
    this.numPrompt = group.prompt.length;
    this.maxTokens = group.sampling.maxTokens;
    // The first choice to be made scores the prompt for all.
    const scores = group.sampling.promptLogprobs >= 0 && group.choices.length === 0;
    this.numScored = scores ? 1 : this.numPrompt;
    this.numScoredScheduled = this.numScored;
    // Room for a first stretch of output; append() doubles it.
    this.numTokens = this.numPrompt + outputTokens.length;
    this.tokens = new Int32Array(this.numTokens + Math.min(64, Math.max(1, this.maxTokens - outputTokens.length)));
    this.tokens.set(group.prompt);
    this.tokens.set(outputTokens, this.numPrompt);
  }

  /** Length once every token sampled so far is known. */
  get length(): number {
    return this.numTokens + this.numPending;
  }

  get numOutput(): number {
    return this.numTokens - this.numPrompt;
  }

  append(token: number): void {
    if (this.numTokens === this.tokens.length) {
      const most = this.numPrompt + this.maxTokens;
      const grown = new Int32Array(Math.min(most, 2 * this.tokens.length));
      grown.set(this.tokens);
      this.tokens = grown;
    }
    this.tokens[this.numTokens++] = token;
  }
}

/** State of a drafter for one sequence; see drafter.ts. */
export interface DraftIndex {
  readonly numIndexed: number;
}

/** Sorts those that must go on first: lower priority value, then older, then lower choice. */
export function compareUrgency(a: Sequence, b: Sequence): number {
  return a.group.priority - b.group.priority || a.group.arrival - b.group.arrival || a.index - b.index;
}
