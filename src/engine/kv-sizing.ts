import type { WeightFormat } from "../backend/abi.ts";
import type { Probe } from "../backend/probe.ts";

/** Share of the memory that is free after loading that the KV cache may take when no size was given. */
const AVAILABLE_SHARE = 0.25;
/** A machine with much memory may have other plans for it; beyond this a person should say so. */
const MAX_DEFAULT_BYTES = 4 * 1024 ** 3;

export interface KvSizing {
  readonly blockBytes: number;
  readonly blockSize: number;
  /** What was asked for; 0: choose. */
  readonly kvCacheMemoryBytes: number;
  readonly availableMemoryBytes: number;
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
}

export interface KvSize {
  readonly numBlocks: number;
  /** The asked one, or what the blocks can hold of one sequence. */
  readonly maxModelLen: number;
}

/**
 * How many KV blocks to make. By default a quarter of the free memory, at most 4 GiB, and never more than every sequence
 * at its longest could use. Where the blocks cannot hold one sequence of maxModelLen, that is clipped to what they hold.
 */
export function sizeKvCache(sizing: KvSizing): KvSize {
  const { blockBytes, blockSize, kvCacheMemoryBytes, availableMemoryBytes, maxModelLen, maxNumSeqs } = sizing;
  const chosen = Math.min(availableMemoryBytes * AVAILABLE_SHARE, MAX_DEFAULT_BYTES);
  const bytes = kvCacheMemoryBytes > 0 ? kvCacheMemoryBytes : chosen;
  const useful = Math.ceil(maxModelLen / blockSize) * maxNumSeqs;
  const affordable = Math.floor(bytes / blockBytes);
  const numBlocks = kvCacheMemoryBytes > 0 ? affordable : Math.min(affordable, useful);
  if (numBlocks < 2) {
    throw new Error(
      `${Math.floor(bytes)} bytes for the KV cache hold ${numBlocks} blocks of ${blockBytes} bytes; at least 2 are ` +
        "needed. --kv-cache-memory sets the size.",
    );
  }
  return { numBlocks, maxModelLen: Math.min(maxModelLen, numBlocks * blockSize) };
}

/**
 * Throws where the weights can't fit in the memory that the process may use: the kernel would end it without a word.
 * Formats other than the file's own may be smaller than the file, so that nothing is known before they are packed.
 */
export function refuseTooLarge(
  weightBytes: number,
  weightFormat: WeightFormat,
  { totalMemoryBytes, memoryLimit }: Pick<Probe, "totalMemoryBytes" | "memoryLimit">,
): void {
  if (weightFormat !== "auto" || weightBytes <= totalMemoryBytes) return;
  const [weights, total] = [weightBytes, totalMemoryBytes].map((count) => `${(count / 1e9).toFixed(2)} GB`);
  throw new Error(
    `The weights take ${weights} of memory, but ` +
      (memoryLimit === "" ? `this machine has ${total}.` : `this process may use ${total} (${memoryLimit}).`),
  );
}
