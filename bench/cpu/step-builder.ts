import { ABI_VERSION, STEP } from "../../src/backend/abi.ts";
import type { BackendInfo } from "../../src/backend/backend.ts";

/** Consecutive tokens of one sequence in a step. */
export interface SequenceChunk {
  /** Sequence and sampling slot, 0..; its KV blocks are its own, one after the other. */
  readonly sequence: number;
  /** Position of the first token. */
  readonly start: number;
  /** An id each, or -1 - sequence for the token it sampled last. */
  readonly inputIds: ArrayLike<number>;
}

/**
 * Packs a step in which every chunk's last token is sampled; layout of kernels/include/scalellm.h. Sequences own
 * `blocksPerSequence` blocks each, so that nothing but the engine is measured.
 */
export function buildStep(
  chunks: readonly SequenceChunk[],
  info: Pick<BackendInfo, "blockSize">,
  blocksPerSequence: number,
): Int32Array {
  const { blockSize } = info;
  const numTokens = chunks.reduce((sum, chunk) => sum + chunk.inputIds.length, 0);
  const numSeqs = chunks.length;
  const words = STEP.headerWords + 3 * numTokens + (numSeqs + 1) + numSeqs + numSeqs * blocksPerSequence + 5 * numSeqs;
  const step = new Int32Array(words);
  step[STEP.version] = ABI_VERSION;
  step[STEP.numTokens] = numTokens;
  step[STEP.numSeqs] = numSeqs;
  step[STEP.numRows] = numSeqs;
  step[STEP.tableStride] = blocksPerSequence;
  step[STEP.numWords] = words;
  let at: number = STEP.headerWords;
  const section = (length: number): Int32Array => step.subarray(at, (at += length));
  const inputIds = section(numTokens);
  const positions = section(numTokens);
  const slotMapping = section(numTokens);
  const cuSeqlens = section(numSeqs + 1);
  const contextLens = section(numSeqs);
  const blockTables = section(numSeqs * blocksPerSequence);
  const rowTokens = section(numSeqs);
  const rowSlots = section(numSeqs);
  const rowTargets = section(numSeqs);
  const rowTops = section(numSeqs);
  const rowDrafts = section(numSeqs);
  let token = 0;
  chunks.forEach(({ sequence, start, inputIds: ids }, row) => {
    const firstBlock = sequence * blocksPerSequence;
    for (let i = 0; i < ids.length; i++, token++) {
      inputIds[token] = ids[i]!;
      positions[token] = start + i;
      slotMapping[token] = firstBlock * blockSize + start + i;
    }
    cuSeqlens[row + 1] = token;
    contextLens[row] = start + ids.length;
    for (let b = 0; b < blocksPerSequence; b++) blockTables[row * blocksPerSequence + b] = firstBlock + b;
    rowTokens[row] = token - 1;
    rowSlots[row] = sequence;
    rowTargets[row] = -1;
    rowTops[row] = -1;
    rowDrafts[row] = -1;
  });
  return step;
}
