import type { Backend } from "../backend/backend.ts";
import { LIMITS } from "../config/limits.ts";
import type { BlockManager } from "./block-manager.ts";

/** Bytes a call: a few milliseconds, which a request that comes meanwhile waits. */
const SLICE_BYTES = 8 * 1024 * 1024;
/** Blocks that hold nothing are given back after this: no sooner, or a client that comes every few seconds pays for it. */
const FREE_MS = 10_000;
/** Looking for unused blocks costs up to a millisecond: no more often than this, however often the engine is idle. */
const SWEEP_MS = 1000;

export interface IdleMemoryOptions {
  /** Cached prefixes that nobody used for this long are forgotten and their memory given back; 0: none is, ever. */
  readonly timeoutMs: number;
}

/**
 * What an idle engine does with its memory, one short slice a call.
 *
 * At first it touches its workspace and the KV of one request of full length (LIMITS.maxWarmBytes at most), so that the
 * first prompts do not wait for pages. Those blocks are kept. Of the others it gives back those that are free, and those
 * whose cached prefix was not used for the timeout; blocks that are kept in the cache keep their pages.
 */
export class IdleMemory {
  readonly #backend: Backend;
  readonly #blocks: BlockManager;
  readonly #timeoutMs: number;
  /** Blocks [0, #numKept) are never given back. */
  readonly #numKept: number;
  /** Bytes touched so far; -1: all are. */
  #touched = 0;
  /** Blocks to give back, ascending, from #at on. */
  #cold: Int32Array = new Int32Array(0);
  #at = 0;
  #sweepMs = Number.NEGATIVE_INFINITY;

  constructor(backend: Backend, blocks: BlockManager, options: IdleMemoryOptions) {
    this.#backend = backend;
    this.#blocks = blocks;
    this.#timeoutMs = options.timeoutMs;
    const { kvBlockBytes, workspaceBytes, maxModelLen } = backend.info;
    const affordable = Math.floor(Math.max(0, LIMITS.maxWarmBytes - workspaceBytes) / Math.max(1, kvBlockBytes));
    this.#numKept = Math.min(blocks.blocksFor(maxModelLen), affordable);
  }

  /** One slice, while no step is in flight and no sequence lives. Returns when to call again, in ms; Infinity: when it was busy. */
  tend(nowMs: number): number {
    if (this.#touched >= 0) {
      const touched = this.#backend.touch(this.#numKept, this.#touched, SLICE_BYTES);
      this.#touched = touched < this.#touched + SLICE_BYTES ? -1 : touched;
      if (this.#touched < 0) for (let block = 0; block < this.#numKept; block++) this.#blocks.memory.take(block);
      return 0;
    }
    if (this.#timeoutMs === 0) return Number.POSITIVE_INFINITY;
    if (this.#at < this.#cold.length) {
      this.#release();
      return 0;
    }
    const waitMs = this.#sweepMs + SWEEP_MS - nowMs;
    if (waitMs > 0) return waitMs;
    this.#sweepMs = nowMs;
    const freeMs = Math.min(FREE_MS, this.#timeoutMs);
    this.#blocks.forget(nowMs - this.#timeoutMs);
    this.#cold = this.#blocks.collectCold(nowMs - freeMs, this.#numKept);
    this.#at = 0;
    if (this.#cold.length > 0) return 0;
    return Math.max(SWEEP_MS, this.#blocks.nextColdMs(this.#timeoutMs, freeMs, this.#numKept) - nowMs);
  }

  /** There is work: blocks that were found unused may be used from now on. */
  interrupt(): void {
    this.#cold = this.#cold.subarray(0, 0);
    this.#at = 0;
  }

  /** Gives back the next run of neighbours, which lie side by side in memory, too. */
  #release(): void {
    const first = this.#cold[this.#at]!;
    const most = Math.max(1, Math.floor(SLICE_BYTES / Math.max(1, this.#backend.info.kvBlockBytes)));
    let count = 0;
    while (count < most && this.#cold[this.#at] === first + count) {
      this.#blocks.memory.drop(first + count);
      count++;
      this.#at++;
    }
    this.#backend.release(first, count);
  }
}
