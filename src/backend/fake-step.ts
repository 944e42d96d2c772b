import { BackendError, type BackendInfo } from "./backend.ts";

/** A packed step, opened and checked against every rule of kernels/include/scalellm.h that can be checked. */
export interface FakeStep {
  readonly numTokens: number;
  readonly numSeqs: number;
  readonly numRows: number;
  readonly stride: number;
  readonly inputIds: Int32Array;
  readonly positions: Int32Array;
  readonly slotMapping: Int32Array;
  readonly cuSeqlens: Int32Array;
  readonly contextLens: Int32Array;
  readonly blockTables: Int32Array;
  readonly rowTokens: Int32Array;
  readonly rowSlots: Int32Array;
  readonly rowTargets: Int32Array;
  readonly rowTops: Int32Array;
  readonly rowDrafts: Int32Array;
  readonly copies: Int32Array;
}

const HEADER_WORDS = 16;

export function openFakeStep(step: Int32Array, info: BackendInfo): FakeStep {
  const [version, T, S, R, B, C, , words] = step as unknown as number[];
  check(version === 1, "version");
  check(words === step.length, "num_words");
  check(T! >= 1 && T! <= info.maxBatchedTokens, "num_tokens");
  check(S! >= 1 && S! <= Math.min(T!, info.maxNumSeqs), "num_seqs");
  check(R! >= 0 && R! <= Math.min(T!, info.maxLogitRows), "num_rows");
  let at = HEADER_WORDS;
  const take = (length: number) => step.subarray(at, (at += length));
  const opened: FakeStep = {
    numTokens: T!,
    numSeqs: S!,
    numRows: R!,
    stride: B!,
    inputIds: take(T!),
    positions: take(T!),
    slotMapping: take(T!),
    cuSeqlens: take(S! + 1),
    contextLens: take(S!),
    blockTables: take(S! * B!),
    rowTokens: take(R!),
    rowSlots: take(R!),
    rowTargets: take(R!),
    rowTops: take(R!),
    rowDrafts: take(R!),
    copies: take(2 * C!),
  };
  check(at === step.length, "sections");
  checkTokens(opened, info);
  checkRows(opened, info);
  for (const block of opened.copies) check(block >= 0 && block < info.numBlocks, "copies");
  return opened;
}

function checkTokens(step: FakeStep, info: BackendInfo): void {
  const written = new Set<number>();
  check(step.cuSeqlens[0] === 0 && step.cuSeqlens[step.numSeqs] === step.numTokens, "cu_seqlens");
  for (let s = 0; s < step.numSeqs; s++) {
    const from = step.cuSeqlens[s]!;
    const to = step.cuSeqlens[s + 1]!;
    check(to > from, "cu_seqlens");
    check(step.contextLens[s] === step.positions[to - 1]! + 1, "context_lens");
    check(step.contextLens[s]! <= info.maxModelLen, "context_lens");
    check(Math.ceil(step.contextLens[s]! / info.blockSize) <= step.stride, "block_table_stride");
    for (let t = from; t < to; t++) {
      const position = step.positions[t]!;
      if (t > from) check(position === step.positions[t - 1]! + 1, "positions");
      const block = step.blockTables[s * step.stride + Math.floor(position / info.blockSize)]!;
      check(block >= 0 && block < info.numBlocks, "block_tables");
      check(step.slotMapping[t] === block * info.blockSize + (position % info.blockSize), "slot_mapping");
      check(!written.has(step.slotMapping[t]!), "slot_mapping: two tokens write one place");
      written.add(step.slotMapping[t]!);
      const id = step.inputIds[t]!;
      check(id < info.vocabSize && id >= -info.maxNumSeqs, "input_ids");
    }
  }
}

function checkRows(step: FakeStep, info: BackendInfo): void {
  const sequenceOfSlot = new Map<number, number>();
  let sequence = 0;
  for (let r = 0; r < step.numRows; r++) {
    const token = step.rowTokens[r]!;
    const slot = step.rowSlots[r]!;
    check(token >= 0 && token < step.numTokens && (r === 0 || token > step.rowTokens[r - 1]!), "row_tokens");
    check(step.rowTops[r]! >= -1 && step.rowTops[r]! <= 20, "row_tops");
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
