import type { BlockHash } from "./block-hash.ts";

const NONE = -1;

/**
 * Finds full KV blocks by the tokens they hold and everything before them. A cached block knows its parent, so a match
 * walks from the root and compares each block's token ids and parent: the whole prefix is compared in full.
 *
 * A cached block that nobody references is idle: it sits in an LRU list until its memory is wanted. Sequences release
 * their blocks last block first, and whoever holds a block holds its parents, so the oldest idle block is always a leaf
 * of the idle ones. Only a sliding window releases parents before children; a child whose parent has been evicted
 * cannot be reached any more (`generation` tells), and leaves by age like any other.
 */
export class PrefixCache {
  readonly #blockSize: number;
  readonly #hash: BlockHash;
  readonly #buckets: Int32Array;
  readonly #mask: number;
  /** Per block: next in its bucket. */
  readonly #next: Int32Array;
  readonly #hashLo: Int32Array;
  readonly #hashHi: Int32Array;
  readonly #parent: Int32Array;
  readonly #parentGeneration: Int32Array;
  /** Grows each time a block leaves the cache. */
  readonly #generation: Int32Array;
  readonly #salt: Int32Array;
  readonly #cached: Uint8Array;
  /** [numBlocks, blockSize] token ids. */
  readonly #tokens: Int32Array;
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  #oldest = NONE;
  #newest = NONE;
  numCached = 0;
  numIdle = 0;

  constructor(numBlocks: number, blockSize: number, hash: BlockHash) {
    this.#blockSize = blockSize;
    this.#hash = hash;
    let buckets = 16;
    while (buckets < 2 * numBlocks) buckets *= 2;
    this.#mask = buckets - 1;
    this.#buckets = new Int32Array(buckets).fill(NONE);
    this.#next = new Int32Array(numBlocks).fill(NONE);
    this.#hashLo = new Int32Array(numBlocks);
    this.#hashHi = new Int32Array(numBlocks);
    this.#parent = new Int32Array(numBlocks).fill(NONE);
    this.#parentGeneration = new Int32Array(numBlocks);
    this.#generation = new Int32Array(numBlocks);
    this.#salt = new Int32Array(numBlocks);
    this.#cached = new Uint8Array(numBlocks);
    this.#tokens = new Int32Array(numBlocks * blockSize);
    this.#older = new Int32Array(numBlocks).fill(NONE);
    this.#newer = new Int32Array(numBlocks).fill(NONE);
  }

  isCached(block: number): boolean {
    return this.#cached[block] === 1;
  }

  /**
   * Cached blocks that hold a prefix of tokens [0, numTokens), written to `out` in order. Stops one token short, since
   * the last token must be computed to get its logits.
   */
  match(tokens: Int32Array, numTokens: number, salt: number, out: Int32Array): number {
    const most = Math.floor((numTokens - 1) / this.#blockSize);
    const hash = this.#hash;
    hash.start(salt);
    let parent = NONE;
    for (let i = 0; i < most; i++) {
      const from = i * this.#blockSize;
      hash.update(tokens, from, from + this.#blockSize);
      const block = this.#find(hash.lo, hash.hi, parent, salt, tokens, from);
      if (block === NONE) return i;
      out[i] = block;
      parent = block;
    }
    return most;
  }

  /**
   * Publishes `block`, which holds tokens [from, from + blockSize) computed after `parent` (-1: the root). Returns the
   * block to use from now on: an equal one that is already cached, or `block` itself; -1 when the parent has left the
   * cache, so that nothing could find the block: the chain is broken for good.
   */
  publish(chain: ChainTail, tokens: Int32Array, from: number, block: number): number {
    if (chain.block !== NONE && this.#generation[chain.block] !== chain.generation) chain.broken = true;
    if (chain.broken) return NONE;
    const hash = this.#hash;
    if (chain.block === NONE) hash.start(chain.salt);
    else hash.resume(chain.lo, chain.hi);
    hash.update(tokens, from, from + this.#blockSize);
    let canonical = this.#find(hash.lo, hash.hi, chain.block, chain.salt, tokens, from);
    if (canonical === NONE) {
      canonical = block;
      this.#insert(block, chain, tokens, from);
    }
    chain.lo = hash.lo;
    chain.hi = hash.hi;
    chain.block = canonical;
    chain.generation = this.#generation[canonical]!;
    return canonical;
  }

  /** Sets a chain to the end of `blocks` cached blocks that match() found. */
  restoreChain(chain: ChainTail, blocks: Int32Array, numBlocks: number): void {
    const last = numBlocks === 0 ? NONE : blocks[numBlocks - 1]!;
    chain.block = last;
    if (last === NONE) return;
    chain.lo = this.#hashLo[last]!;
    chain.hi = this.#hashHi[last]!;
    chain.generation = this.#generation[last]!;
  }

  /** A cached block lost its last reference. */
  makeIdle(block: number): void {
    this.#older[block] = this.#newest;
    this.#newer[block] = NONE;
    if (this.#newest === NONE) this.#oldest = block;
    else this.#newer[this.#newest] = block;
    this.#newest = block;
    this.numIdle++;
  }

  /** An idle block is referenced again. */
  makeBusy(block: number): void {
    const older = this.#older[block]!;
    const newer = this.#newer[block]!;
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
    this.numIdle--;
  }

  /** Takes the least recently used idle block out of the cache; -1 when none is idle. */
  evict(): number {
    const block = this.#oldest;
    if (block === NONE) return NONE;
    this.makeBusy(block);
    this.#remove(block);
    return block;
  }

  /** The least recently used idle block; -1 when none is idle. */
  get oldestIdle(): number {
    return this.#oldest;
  }

  /** Parent of a cached block while it is still reachable from it, -1 for a root or an orphan. For checks. */
  liveParent(block: number): number {
    const parent = this.#parent[block]!;
    return parent !== NONE && this.#generation[parent] === this.#parentGeneration[block] ? parent : NONE;
  }

  /** Idle blocks, oldest first. For checks. */
  *idleBlocks(): Generator<number> {
    for (let block = this.#oldest; block !== NONE; block = this.#newer[block]!) yield block;
  }

  #find(lo: number, hi: number, parent: number, salt: number, tokens: Int32Array, from: number): number {
    for (let block = this.#buckets[lo & this.#mask]!; block !== NONE; block = this.#next[block]!) {
      if (this.#hashLo[block] !== lo || this.#hashHi[block] !== hi) continue;
      if (this.#parent[block] !== parent || this.#salt[block] !== salt) continue;
      if (parent !== NONE && this.#parentGeneration[block] !== this.#generation[parent]) continue;
      if (this.#holds(block, tokens, from)) return block;
    }
    return NONE;
  }

  #holds(block: number, tokens: Int32Array, from: number): boolean {
    const at = block * this.#blockSize;
    for (let i = 0; i < this.#blockSize; i++) {
      if (this.#tokens[at + i] !== tokens[from + i]) return false;
    }
    return true;
  }

  #insert(block: number, chain: ChainTail, tokens: Int32Array, from: number): void {
    const { lo, hi } = this.#hash;
    const bucket = lo & this.#mask;
    this.#next[block] = this.#buckets[bucket]!;
    this.#buckets[bucket] = block;
    this.#hashLo[block] = lo;
    this.#hashHi[block] = hi;
    this.#parent[block] = chain.block;
    this.#parentGeneration[block] = chain.generation;
    this.#salt[block] = chain.salt;
    this.#cached[block] = 1;
    const at = block * this.#blockSize;
    for (let i = 0; i < this.#blockSize; i++) this.#tokens[at + i] = tokens[from + i]!;
    this.numCached++;
  }

  #remove(block: number): void {
    const bucket = this.#hashLo[block]! & this.#mask;
    if (this.#buckets[bucket] === block) this.#buckets[bucket] = this.#next[block]!;
    else {
      let before = this.#buckets[bucket]!;
      while (this.#next[before] !== block) before = this.#next[before]!;
      this.#next[before] = this.#next[block]!;
    }
    this.#generation[block] = this.#generation[block]! + 1;
    this.#cached[block] = 0;
    this.numCached--;
  }
}

/** Where a sequence's chain of published blocks ends: what the next block's parent and hash start from. */
export interface ChainTail {
  /** -1: nothing is published yet. */
  block: number;
  generation: number;
  lo: number;
  hi: number;
  salt: number;
  /** Its last block has left the cache: what follows cannot be published. Only behind a sliding window. */
  broken: boolean;
}
