import type { SlotParams } from "./backend.ts";

/**
 * The arithmetic of the fake backend, as pure functions: what a token writes into the KV cache, and which token follows
 * from what the cache holds. Every entry depends on all entries before it, as in a real model, so that a wrong block
 * table, slot mapping, copy or cached prefix changes the output.
 */
export interface FakeModelConfig {
  readonly seed: number;
  readonly vocabSize: number;
  /** 0: every token attends to everything before it. */
  readonly slidingWindow: number;
  /** Chance, 0 to 1, that a token is simply its predecessor plus one: something for a drafter to guess. */
  readonly predictability: number;
}

/** Murmur3's finaliser over a running hash. */
export function mix(hash: number, value: number): number {
  let h = Math.imul(hash ^ value, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) | 0;
}

/** First position that the token at `position` attends to. */
export function firstAttended(config: FakeModelConfig, position: number): number {
  return config.slidingWindow === 0 ? 0 : Math.max(0, position - config.slidingWindow + 1);
}

/** The KV entry of a token, given the fold of the entries it attends to. Never 0, which marks memory not written. */
export function kvEntry(fold: number, token: number, position: number): number {
  return mix(mix(fold, token), position) | 1;
}

/** One sequence's sampling state, as native slots keep it. */
export class FakeSampler {
  readonly #params: SlotParams;
  readonly #stopIds: readonly number[];
  readonly #static: number;
  readonly #usesHistory: boolean;
  readonly #seed: number;
  #history: number;
  #position = 0;
  /** The token sampled last; -1 before the first. */
  last = -1;

  constructor(params: SlotParams) {
    this.#params = params;
    this.#stopIds = Array.from(params.stopIds);
    this.#seed = Number(BigInt.asIntN(32, BigInt(params.seed)));
    const { repetitionPenalty, frequencyPenalty, presencePenalty, topK, topP, minP } = params;
    this.#usesHistory = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
    let h = mix(mix(mix(17, topK), topP * 1e6), minP * 1e6);
    h = mix(mix(mix(h, repetitionPenalty * 1e6), frequencyPenalty * 1e6), presencePenalty * 1e6);
    for (const [id, bias] of params.logitBias) h = mix(mix(h, id), bias * 1e6);
    this.#static = h;
    this.#history = repetitionPenalty === 1 ? 0 : params.promptTokens.reduce(mix, 1);
    for (const token of params.outputTokens) this.#take(token);
  }

  /** Samples after a token whose context folds to `fold`. `input` is that token. */
  sample(config: FakeModelConfig, fold: number, input: number): number {
    let x = mix(fold, this.#static);
    if (this.#params.temperature > 0) x = mix(mix(x, this.#seed), this.#position);
    if (this.#usesHistory) x = mix(x, this.#history);
    const guessable = (mix(x, 1) >>> 0) / 2 ** 32 < config.predictability;
    let token = guessable ? (input + 1) % config.vocabSize : (x >>> 0) % config.vocabSize;
    while (this.#position < this.#params.minTokens && this.#stopIds.includes(token))
      token = (token + 1) % config.vocabSize;
    this.#take(token);
    return token;
  }

  #take(token: number): void {
    if (this.#usesHistory) this.#history = mix(this.#history, token);
    this.#position++;
    this.last = token;
  }
}

/** Log probability that the fake model reports for a token after a context. Rank and alternatives follow from it. */
export function fakeLogprob(fold: number, token: number): number {
  return -((mix(mix(fold, 77), token) >>> 0) / 2 ** 32) * 8;
}

export function fakeRank(fold: number, token: number): number {
  return 1 + ((mix(mix(fold, 78), token) >>> 0) % 50);
}

export function fakeTopId(config: FakeModelConfig, fold: number, k: number): number {
  return (mix(mix(fold, 79), k) >>> 0) % config.vocabSize;
}

/**
 * What a sequence generates, computed alone and in order, without paging, batching or caching: the reference for
 * everything that the engine does. Ends at a stop id or after maxTokens.
 */
export function referenceOutput(config: FakeModelConfig, params: SlotParams, maxTokens: number): number[] {
  const entries: number[] = [];
  const sampler = new FakeSampler(params);
  const stopIds = Array.from(params.stopIds);
  const output = Array.from(params.outputTokens);
  let running = config.seed;
  const push = (token: number): number => {
    const position = entries.length;
    let before = running;
    if (config.slidingWindow > 0) {
      before = config.seed;
      for (let p = firstAttended(config, position); p < position; p++) before = mix(before, entries[p]!);
    }
    const entry = kvEntry(before, token, position);
    entries.push(entry);
    running = mix(before, entry);
    return running;
  };
  let fold = 0;
  let input = 0;
  for (const token of [...params.promptTokens, ...output]) fold = push((input = token));
  while (output.length < maxTokens) {
    const token = sampler.sample(config, fold, input);
    output.push(token);
    if (stopIds.includes(token)) break;
    fold = push((input = token));
  }
  return output;
}
