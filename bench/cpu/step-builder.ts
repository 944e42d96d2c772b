import type { BackendInfo } from "../../src/backend/backend.ts";
import { createStep } from "../../src/backend/step-layout.ts";

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
 * Packs a step in which every chunk's last token is sampled. Sequences own `blocksPerSequence` blocks each, so that
 * nothing but the engine is measured.
 */
export function buildStep(
  chunks: readonly SequenceChunk[],
  info: Pick<BackendInfo, "blockSize">,
  blocksPerSequence: number,
): Int32Array {
  const { blockSize } = info;
  const numTokens = chunks.reduce((sum, chunk) => sum + chunk.inputIds.length, 0);
  const numSeqs = chunks.length;
  const step = createStep({
    numTokens,
    numSeqs,
    numRows: numSeqs,
    tableStride: blocksPerSequence,
    numCopies: 0,
  });
  step.rowTargets.fill(-1);
  step.rowTops.fill(-1);
  step.rowDrafts.fill(-1);
  let token = 0;
  chunks.forEach(({ sequence, start, inputIds: ids }, row) => {
    const firstBlock = sequence * blocksPerSequence;
    for (let i = 0; i < ids.length; i++, token++) {
      step.inputIds[token] = ids[i]!;
      step.positions[token] = start + i;
      step.slotMapping[token] = firstBlock * blockSize + start + i;
    }
    step.cuSeqlens[row + 1] = token;
    step.contextLens[row] = start + ids.length;
    for (let b = 0; b < blocksPerSequence; b++) step.blockTables[row * blocksPerSequence + b] = firstBlock + b;
    step.rowTokens[row] = token - 1;
    step.rowSlots[row] = sequence;
  });
  return step.words;
}
