/** Steps by hand for native engine tests: what engine/ packs, without its scheduler. */
import { ABI_VERSION, resultWords, STEP, STEP_RETURN_LOGITS } from "../../src/backend/abi.ts";
import type { SlotParams } from "../../src/backend/backend.ts";
import type { NativeBackend } from "../../src/backend/native-backend.ts";

export interface Row {
  /** Index of the token within its sequence's part of the step. */
  token: number;
  slot?: number;
  /** A token to score; absent: sample. */
  target?: number;
  top?: number;
  draft?: number;
}

export interface SequenceStep {
  /** Token ids, or -1 - slot. */
  ids: ArrayLike<number>;
  /** Position of the first. */
  start: number;
  blocks: ArrayLike<number>;
  rows: readonly Row[];
}

export interface StepOptions {
  blockSize: number;
  copies?: ReadonlyArray<readonly [from: number, to: number]>;
  returnLogits?: boolean;
}

export function packStep(sequences: readonly SequenceStep[], options: StepOptions): Int32Array {
  const { blockSize, copies = [] } = options;
  const stride = Math.max(0, ...sequences.map((s) => s.blocks.length));
  const inputs: number[] = [];
  const positions: number[] = [];
  const places: number[] = [];
  const starts = [0];
  const contexts: number[] = [];
  const tables: number[] = [];
  const rows: (Row & { at: number })[] = [];
  for (const sequence of sequences) {
    const first = inputs.length;
    for (let i = 0; i < sequence.ids.length; i++) {
      const position = sequence.start + i;
      inputs.push(sequence.ids[i]!);
      positions.push(position);
      places.push(sequence.blocks[Math.floor(position / blockSize)]! * blockSize + (position % blockSize));
    }
    starts.push(inputs.length);
    contexts.push(sequence.start + sequence.ids.length);
    for (let i = 0; i < stride; i++) tables.push(sequence.blocks[i] ?? -1);
    for (const row of sequence.rows) rows.push({ ...row, at: first + row.token });
  }
  const header = new Array<number>(STEP.headerWords).fill(0);
  header[STEP.version] = ABI_VERSION;
  header[STEP.numTokens] = inputs.length;
  header[STEP.numSeqs] = sequences.length;
  header[STEP.numRows] = rows.length;
  header[STEP.tableStride] = stride;
  header[STEP.numCopies] = copies.length;
  header[STEP.flags] = options.returnLogits ? STEP_RETURN_LOGITS : 0;
  const body = [
    ...[inputs, positions, places, starts, contexts, tables],
    rows.map((r) => r.at),
    rows.map((r) => r.slot ?? -1),
    rows.map((r) => r.target ?? -1),
    rows.map((r) => r.top ?? -1),
    rows.map((r) => r.draft ?? -1),
    copies.flat(),
  ].flat();
  header[STEP.numWords] = header.length + body.length;
  return Int32Array.from([...header, ...body]);
}

export interface StepResult {
  /** All of it, as it came. */
  words: Int32Array;
  tokens: Int32Array;
  ranks: Int32Array;
  logprobs: Float32Array;
  topIds: Int32Array[];
  topLogprobs: Float32Array[];
}

export function unpackResult(words: Int32Array, numRows: number, maxTop: number): StepResult {
  const float = new Float32Array(words.buffer, words.byteOffset, words.length);
  const slices = <T>(of: (from: number, to: number) => T, base: number): T[] =>
    Array.from({ length: numRows }, (_, r) => of(base + r * maxTop, base + (r + 1) * maxTop));
  return {
    words,
    tokens: words.slice(0, numRows),
    ranks: words.slice(numRows, 2 * numRows),
    logprobs: float.slice(2 * numRows, 3 * numRows),
    topIds: slices((a, b) => words.slice(a, b), 3 * numRows),
    topLogprobs: slices((a, b) => float.slice(a, b), (3 + maxTop) * numRows),
  };
}

export function runStep(
  backend: NativeBackend,
  sequences: readonly SequenceStep[],
  options: Omit<StepOptions, "blockSize"> = {},
): StepResult {
  const numRows = sequences.reduce((n, s) => n + s.rows.length, 0);
  const maxTop = Math.max(0, ...sequences.flatMap((s) => s.rows.map((r) => r.top ?? -1)));
  const ticket = backend.submit(packStep(sequences, { ...options, blockSize: backend.info.blockSize }));
  // A view must not be empty even where no row is asked for.
  const words = new Int32Array(Math.max(1, resultWords(numRows, maxTop)));
  backend.wait(ticket, words.subarray(0, resultWords(numRows, maxTop)));
  return unpackResult(words, numRows, maxTop);
}

/** Runs a step and returns the raw logits [rows][vocab]. */
export function logitsOf(backend: NativeBackend, sequences: readonly SequenceStep[]): Float32Array {
  return runStepWithLogits(backend, sequences).logits;
}

/** Runs a step; logits are raw, [rows][vocab]. */
export function runStepWithLogits(
  backend: NativeBackend,
  sequences: readonly SequenceStep[],
): StepResult & { logits: Float32Array } {
  const result = runStep(backend, sequences, { returnLogits: true });
  const logits = new Float32Array(result.tokens.length * backend.info.vocabSize);
  if (logits.length > 0) backend.logits(logits);
  return { ...result, logits };
}

export const GREEDY: SlotParams = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: 0,
  minTokens: 0,
  stopIds: [],
  logitBias: [],
  promptTokens: new Int32Array(0),
  outputTokens: new Int32Array(0),
};
