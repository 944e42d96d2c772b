import { ABI_VERSION, STEP, STEP_RETURN_LOGITS } from "../../src/backend/abi.ts";

/** A logit row after one of a sequence's tokens. */
export interface RowSpec {
  /** Index among the sequence's tokens in this step. */
  token: number;
  /** -1 for scoring rows. */
  slot: number;
  /** -1 samples; otherwise the token to score. */
  target?: number;
  top?: number;
  draft?: number;
}

export interface SequenceSpec {
  /** Token ids; -1 - slot stands for what that slot sampled last. */
  ids: ArrayLike<number>;
  /** Position of the first. */
  start: number;
  /** Block numbers from position 0. */
  table: ArrayLike<number>;
  rows: readonly RowSpec[];
}

/** Packs a step in the layout of scalellm.h; plain and slow, for tests. */
export function buildStep(
  blockSize: number,
  seqs: readonly SequenceSpec[],
  { logits = false, copies = [] as readonly number[] } = {},
): Int32Array {
  const inputIds: number[] = [];
  const positions: number[] = [];
  const slotMapping: number[] = [];
  const cuSeqlens = [0];
  const contextLens: number[] = [];
  const tables: number[] = [];
  const rows: (RowSpec & { at: number })[] = [];
  const stride = Math.max(0, ...seqs.map(({ table }) => table.length));
  for (const { ids, start, table, rows: own } of seqs) {
    rows.push(...own.map((row) => ({ ...row, at: inputIds.length + row.token })));
    for (let i = 0; i < ids.length; i++) {
      const position = start + i;
      inputIds.push(ids[i]!);
      positions.push(position);
      slotMapping.push(table[Math.floor(position / blockSize)]! * blockSize + (position % blockSize));
    }
    cuSeqlens.push(inputIds.length);
    contextLens.push(start + ids.length);
    for (let b = 0; b < stride; b++) tables.push(table[b] ?? 0);
  }
  const header = new Array<number>(STEP.headerWords).fill(0);
  const body = [
    ...inputIds,
    ...positions,
    ...slotMapping,
    ...cuSeqlens,
    ...contextLens,
    ...tables,
    ...rows.map(({ at }) => at),
    ...rows.map(({ slot }) => slot),
    ...rows.map(({ target = -1 }) => target),
    ...rows.map(({ top = -1 }) => top),
    ...rows.map(({ draft = -1 }) => draft),
    ...copies,
  ];
  header[STEP.version] = ABI_VERSION;
  header[STEP.numTokens] = inputIds.length;
  header[STEP.numSeqs] = seqs.length;
  header[STEP.numRows] = rows.length;
  header[STEP.tableStride] = stride;
  header[STEP.numCopies] = copies.length / 2;
  header[STEP.flags] = logits ? STEP_RETURN_LOGITS : 0;
  header[STEP.numWords] = header.length + body.length;
  return Int32Array.from([...header, ...body]);
}
