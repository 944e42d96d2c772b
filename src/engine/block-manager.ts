import { BlockHash } from "./block-hash.ts";
import { BlockMemory } from "./block-memory.ts";
import { PrefixCache } from "./prefix-cache.ts";
import type { Sequence } from "./sequence.ts";

export interface BlockManagerOptions {
  readonly numBlocks: number;
  readonly blockSize: number;
  /** One block table a slot. */
  readonly numSlots: number;
  readonly maxModelLen: number;
  /** Sliding window of every layer in tokens; 0: some layer attends to everything. */
  readonly slidingWindow: number;
  readonly prefixCaching: boolean;
  readonly hashSeed: number;
}

/**
 * Owns the KV blocks: who references which, which are free, which hold a cached prefix. Every block is in exactly one
 * of three states: free (on the free list), idle (cached, referenced by nobody) or owned (referenced). A block that is
 * shared or cached is never written again.
 *
 * Sliding window: where every layer has one, a sequence lets go of the blocks that lie wholly before the window of its
 * next token, once they are published. A hit needs the whole chain of blocks from the start to be in the cache, because
 * token ids are compared all the way down, but references only the blocks that the next token's window reaches.
 */
export class BlockManager {
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly cache: PrefixCache | undefined;
  readonly memory: BlockMemory;
  readonly #refs: Int32Array;
  readonly #free: Int32Array;
  #numFree: number;
  readonly #tables: Int32Array[];
  readonly #window: number;
  readonly #matched: Int32Array;

  constructor(options: BlockManagerOptions) {
    const { numBlocks, blockSize, numSlots, maxModelLen } = options;
    this.blockSize = blockSize;
    this.numBlocks = numBlocks;
    this.#window = options.slidingWindow;
    this.memory = new BlockMemory(numBlocks);
    this.#refs = new Int32Array(numBlocks);
    this.#free = Int32Array.from({ length: numBlocks }, (_, i) => numBlocks - 1 - i);
    this.#numFree = numBlocks;
    const tableLength = Math.ceil(maxModelLen / blockSize);
    this.#tables = Array.from({ length: numSlots }, () => new Int32Array(tableLength));
    this.#matched = new Int32Array(tableLength);
    this.cache = options.prefixCaching
      ? new PrefixCache(numBlocks, blockSize, new BlockHash(options.hashSeed))
      : undefined;
  }

  /** Blocks that could be handed out now. */
  get numAvailable(): number {
    return this.#numFree + (this.cache?.numIdle ?? 0);
  }

  get numUsed(): number {
    return this.numBlocks - this.numAvailable;
  }

  table(slot: number): Int32Array {
    return this.#tables[slot]!;
  }

  blocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.blockSize);
  }

  /** Tokens of a prefix that the cache holds now. */
  probe(tokens: Int32Array, numTokens: number, salt: number): number {
    return (this.cache?.match(tokens, numTokens, salt, this.#matched) ?? 0) * this.blockSize;
  }

  /** Whether a sequence can share the prompt blocks of `parent`, a sequence of its group: all computed and all held. */
  canFork(parent: Sequence): boolean {
    return parent.promptSubmitted && parent.firstBlock === 0;
  }

  /**
   * Whether the blocks for every known token of a sequence can be found with `reserve` blocks left over. A parent's
   * prompt blocks count as found. Leaves the match for admit().
   */
  canAdmit(sequence: Sequence, parent: Sequence | undefined, useCache: boolean, reserve: number): boolean {
    const { numShared, numIdle } = this.#plan(sequence, parent, useCache);
    const needed = this.blocksFor(sequence.numTokens) - numShared;
    return needed <= this.numAvailable - numIdle - reserve;
  }

  /**
   * Gives a sequence with a slot the blocks of all its known tokens and sets numScheduled and numCommitted to what they
   * already hold. `copies` receives (source, destination) where a parent's last block is only partly prompt: copy on
   * write, since both are about to write to it.
   */
  admit(sequence: Sequence, parent: Sequence | undefined, useCache: boolean, copies: number[]): void {
    const { numShared, firstHeld } = this.#plan(sequence, parent, useCache);
    const table = this.#tables[sequence.slot]!;
    const source = parent ? this.#tables[parent.slot]! : this.#matched;
    sequence.firstBlock = firstHeld;
    for (let i = firstHeld; i < numShared; i++) this.#reference((table[i] = source[i]!));
    table.fill(0, 0, firstHeld);
    sequence.numBlocks = numShared;
    let numHeld = numShared * this.blockSize;
    sequence.numPublished = 0;
    sequence.chain.block = -1;
    sequence.chain.broken = false;
    sequence.chain.salt = sequence.group.account.salt;
    if (parent) {
      const within = (sequence.numPrompt - 1) % this.blockSize;
      if (within > 0) {
        const copy = this.#take();
        copies.push(source[numShared]!, copy);
        table[sequence.numBlocks++] = copy;
        numHeld += within;
      }
      // The parent publishes the shared blocks; this one offers them again, finds them equal and so joins the chain.
    } else if (this.cache) {
      this.cache.restoreChain(sequence.chain, this.#matched, numShared);
      sequence.numPublished = numShared;
    }
    while (sequence.numBlocks < this.blocksFor(sequence.numTokens)) table[sequence.numBlocks++] = this.#take();
    sequence.numScheduled = numHeld;
    sequence.numCommitted = numHeld;
  }

  /** Whether the blocks of tokens [0, numTokens) are held or can be. */
  canGrow(sequence: Sequence, numTokens: number): boolean {
    return this.blocksFor(numTokens) - sequence.numBlocks <= this.numAvailable;
  }

  grow(sequence: Sequence, numTokens: number): void {
    const table = this.#tables[sequence.slot]!;
    const wanted = this.blocksFor(numTokens);
    while (sequence.numBlocks < wanted) table[sequence.numBlocks++] = this.#take();
  }

  /** After a step: publishes the blocks it filled, then lets go of those that left the window. */
  commit(sequence: Sequence): void {
    if (this.cache) this.#publish(this.cache, sequence);
    if (this.#window > 0) this.#leaveWindow(sequence);
  }

  /** Gives every block back, last first, so that the cache forgets leaves before roots. */
  release(sequence: Sequence): void {
    const table = this.#tables[sequence.slot]!;
    for (let i = sequence.numBlocks - 1; i >= sequence.firstBlock; i--) this.#dereference(table[i]!);
    sequence.numBlocks = 0;
    sequence.firstBlock = 0;
    sequence.numScheduled = 0;
    sequence.numCommitted = 0;
    sequence.promptSubmitted = false;
  }

  /** Forgets all cached prefixes: after a fault their contents are not trusted. No block may be owned. */
  clearCache(): void {
    if (!this.cache) return;
    for (let block = this.cache.evict(); block >= 0; block = this.cache.evict()) this.#free[this.#numFree++] = block;
  }

  /** Forgets cached prefixes that nobody has used since. */
  forget(sinceMs: number): void {
    if (!this.cache) return;
    while (this.cache.oldestIdle >= 0 && this.memory.unusedSinceMs(this.cache.oldestIdle) <= sinceMs) {
      this.#free[this.#numFree++] = this.cache.evict();
    }
  }

  /**
   * Free blocks from `first` on that take memory and have been unused since, ascending. Puts the free blocks in order:
   * those that keep their memory are handed out before the others, low numbers first, so that high ones stay unused.
   */
  collectCold(sinceMs: number, first: number): Int32Array {
    const free = this.#free.subarray(0, this.#numFree);
    free.sort();
    const isKept = (block: number) =>
      this.memory.isResident(block) && (block < first || this.memory.unusedSinceMs(block) > sinceMs);
    const cold = free.filter((block) => this.memory.isResident(block) && !isKept(block));
    const others = free.filter((block) => !isKept(block));
    const kept = free.filter(isKept);
    free.set(others.reverse());
    free.set(kept.reverse(), others.length);
    return cold;
  }

  /** When forget() or collectCold() finds something next if nothing is used until then; Infinity: never. */
  nextColdMs(cachedForMs: number, freeForMs: number, first: number): number {
    const oldest = this.cache?.oldestIdle ?? -1;
    let nextMs = oldest < 0 ? Number.POSITIVE_INFINITY : this.memory.unusedSinceMs(oldest) + cachedForMs;
    for (let i = 0; i < this.#numFree; i++) {
      const block = this.#free[i]!;
      if (block < first || !this.memory.isResident(block)) continue;
      nextMs = Math.min(nextMs, this.memory.unusedSinceMs(block) + freeForMs);
    }
    return nextMs;
  }

  /** Whether writing to the block is allowed: one owner, and no one may find it in the cache. */
  isWritable(block: number): boolean {
    return this.#refs[block] === 1 && !this.cache?.isCached(block);
  }

  /** Throws unless every block is free, idle or owned, with exact counts, given all sequences that hold blocks. */
  checkInvariants(holders: Iterable<Sequence>): void {
    const refs = new Int32Array(this.numBlocks);
    for (const sequence of holders) {
      const table = this.#tables[sequence.slot]!;
      for (let i = sequence.firstBlock; i < sequence.numBlocks; i++) refs[table[i]!]!++;
      const first = Math.max(sequence.firstBlock, Math.floor(sequence.numCommitted / this.blockSize));
      for (let i = first; i < sequence.numBlocks; i++) {
        if (!this.isWritable(table[i]!))
          throw new Error(`block ${table[i]} of sequence ${sequence.id} is not writable`);
      }
    }
    const seen = new Uint8Array(this.numBlocks);
    const see = (block: number, state: string) => {
      if (seen[block]) throw new Error(`block ${block} is ${state} and something else`);
      if (refs[block] !== 0) throw new Error(`block ${block} is ${state} and referenced`);
      seen[block] = 1;
    };
    for (let i = 0; i < this.#numFree; i++) {
      see(this.#free[i]!, "free");
      if (this.cache?.isCached(this.#free[i]!)) throw new Error(`block ${this.#free[i]} is free and cached`);
    }
    const idle = [...(this.cache?.idleBlocks() ?? [])];
    if (idle.length !== (this.cache?.numIdle ?? 0)) throw new Error("the idle count is wrong");
    const rank = new Map(idle.map((block, i) => [block, i]));
    for (const block of idle) {
      see(block, "idle");
      if (!this.cache?.isCached(block)) throw new Error(`block ${block} is idle and not cached`);
      const parent = this.cache.liveParent(block);
      if (this.#window === 0 && parent >= 0 && (rank.get(parent) ?? Number.POSITIVE_INFINITY) < rank.get(block)!) {
        throw new Error(`block ${block} would outlive its parent ${parent}`);
      }
    }
    let numResident = 0;
    for (let block = 0; block < this.numBlocks; block++) {
      if (this.memory.isResident(block)) numResident++;
      else if (refs[block]! > 0 || this.cache?.isCached(block)) throw new Error(`block ${block} has no memory`);
      if (this.#refs[block] !== refs[block]) {
        throw new Error(`block ${block} counts ${this.#refs[block]} references, ${refs[block]} are held`);
      }
      if (!seen[block] && refs[block] === 0) throw new Error(`block ${block} is lost`);
    }
    if (numResident !== this.memory.numResident) throw new Error("the count of blocks in memory is wrong");
  }

  /** What can be shared: blocks [0, numShared) hold a prefix already, of which [firstHeld, numShared) get referenced. */
  #plan(sequence: Sequence, parent: Sequence | undefined, useCache: boolean) {
    let numShared = 0;
    let numIdle = 0;
    let firstHeld = 0;
    if (parent) {
      numShared = Math.floor((sequence.numPrompt - 1) / this.blockSize);
    } else if (this.cache && useCache) {
      numShared = this.cache.match(sequence.tokens, sequence.numTokens, sequence.group.account.salt, this.#matched);
      firstHeld = this.#firstInWindow(numShared * this.blockSize);
      for (let i = firstHeld; i < numShared; i++) if (this.#refs[this.#matched[i]!] === 0) numIdle++;
    }
    return { numShared, numIdle, firstHeld: Math.min(firstHeld, numShared) };
  }

  /** First block that a token at `position` can attend to. */
  #firstInWindow(position: number): number {
    if (this.#window === 0) return 0;
    return Math.floor(Math.max(0, position - this.#window + 1) / this.blockSize);
  }

  #publish(cache: PrefixCache, sequence: Sequence): void {
    const table = this.#tables[sequence.slot]!;
    const numFull = Math.floor(sequence.numCommitted / this.blockSize);
    for (let i = sequence.numPublished; i < numFull; i++) {
      const own = table[i]!;
      const canonical = cache.publish(sequence.chain, sequence.tokens, i * this.blockSize, own);
      if (canonical < 0) return;
      if (canonical !== own) {
        // The same prefix was computed twice at once; equal bits by contract, so keep one copy.
        this.#reference(canonical);
        table[i] = canonical;
        this.#dereference(own);
      }
      sequence.numPublished = i + 1;
    }
  }

  #leaveWindow(sequence: Sequence): void {
    let until = this.#firstInWindow(sequence.numScheduled);
    if (this.cache && !sequence.chain.broken) until = Math.min(until, sequence.numPublished);
    const table = this.#tables[sequence.slot]!;
    while (sequence.firstBlock < until) {
      this.#dereference(table[sequence.firstBlock]!);
      table[sequence.firstBlock++] = 0;
    }
  }

  #take(): number {
    let block: number;
    if (this.#numFree > 0) block = this.#free[--this.#numFree]!;
    else block = this.cache?.evict() ?? -1;
    if (block < 0) throw new Error("no KV block is available: ask canAdmit or canGrow first");
    this.#refs[block] = 1;
    this.memory.take(block);
    return block;
  }

  #reference(block: number): void {
    if (this.#refs[block]!++ === 0) this.cache!.makeBusy(block);
  }

  #dereference(block: number): void {
    const refs = --this.#refs[block]!;
    if (refs > 0) return;
    this.memory.leave(block);
    if (this.cache?.isCached(block)) this.cache.makeIdle(block);
    else this.#free[this.#numFree++] = block;
  }
}
