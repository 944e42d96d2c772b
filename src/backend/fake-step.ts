import { BackendError, type BackendInfo } from "./backend.ts";
import { MAX_TOP_LOGPROBS, openStep, type StepSections } from "./step-layout.ts";

/** Opens a packed step and checks it against every rule of kernels/include/scalellm.h that can be checked. */
export function openFakeStep(words: Int32Array, info: BackendInfo): StepSections {
  const step = openStep(words);
  const { numTokens, numSeqs, numRows } = step;
  check(numTokens >= 1 && numTokens <= info.maxBatchedTokens, "num_tokens");
  check(numSeqs >= 1 && numSeqs <= Math.min(numTokens, info.maxNumSeqs), "num_seqs");
  check(numRows >= 0 && numRows <= Math.min(numTokens, info.maxLogitRows), "num_rows");
  check(step.tableStride >= 0 && step.numCopies >= 0, "table_stride, num_copies");
  checkTokens(step, info);
  checkRows(step, info);
  for (const block of step.copies) check(block >= 0 && block < info.numBlocks, "copies");
  return step;
}

function checkTokens(step: StepSections, info: BackendInfo): void {
  const written = new Set<number>();
  check(step.cuSeqlens[0] === 0 && step.cuSeqlens[step.numSeqs] === step.numTokens, "cu_seqlens");
  for (let s = 0; s < step.numSeqs; s++) {
    const from = step.cuSeqlens[s]!;
    const to = step.cuSeqlens[s + 1]!;
    check(to > from, "cu_seqlens");
    check(step.contextLens[s] === step.positions[to - 1]! + 1, "context_lens");
    check(step.contextLens[s]! <= info.maxModelLen, "context_lens");
    check(Math.ceil(step.contextLens[s]! / info.blockSize) <= step.tableStride, "block_table_stride");
    for (let t = from; t < to; t++) {
      const position = step.positions[t]!;
      if (t > from) check(position === step.positions[t - 1]! + 1, "positions");
      const block = step.blockTables[s * step.tableStride + Math.floor(position / info.blockSize)]!;
      check(block >= 0 && block < info.numBlocks, "block_tables");
      check(step.slotMapping[t] === block * info.blockSize + (position % info.blockSize), "slot_mapping");
      check(!written.has(step.slotMapping[t]!), "slot_mapping: two tokens write one place");
      written.add(step.slotMapping[t]!);
      const id = step.inputIds[t]!;
      check(id < info.vocabSize && id >= -info.maxNumSeqs, "input_ids");
    }
  }
}

function checkRows(step: StepSections, info: BackendInfo): void {
  const sequenceOfSlot = new Map<number, number>();
  let sequence = 0;
  for (let r = 0; r < step.numRows; r++) {
    const token = step.rowTokens[r]!;
    const slot = step.rowSlots[r]!;
    check(token >= 0 && token < step.numTokens && (r === 0 || token > step.rowTokens[r - 1]!), "row_tokens");
    check(step.rowTops[r]! >= -1 && step.rowTops[r]! <= MAX_TOP_LOGPROBS, "row_tops");
    while (token >= step.cuSeqlens[sequence + 1]!) sequence++;
    if (step.rowTargets[r]! >= 0) continue;
    check(slot >= 0 && slot < info.maxNumSeqs, "row_slots");
    check((sequenceOfSlot.get(slot) ?? sequence) === sequence, "row_slots: a slot in two sequences");
    sequenceOfSlot.set(slot, sequence);
    const draft = step.rowDrafts[r]!;
    if (draft >= 0) check(step.rowSlots[r + 1] === slot && step.inputIds[token + 1] === draft, "row_drafts");
  }
}

function check(holds: boolean, field: string): void {
  if (!holds) throw new BackendError(-1, `fake backend: ${field} is wrong`);
}
