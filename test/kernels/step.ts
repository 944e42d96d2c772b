/** Steps by hand for native engine tests: what engine/ packs, without its scheduler. */
import type { SlotParams } from "../../src/backend/backend.ts";
import type { NativeBackend } from "../../src/backend/native-backend.ts";
import { createStep, STEP_RETURN_LOGITS, StepResult } from "../../src/backend/step-layout.ts";

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
  const step = createStep(
    {
      numTokens: sequences.reduce((n, s) => n + s.ids.length, 0),
      numSeqs: sequences.length,
      numRows: sequences.reduce((n, s) => n + s.rows.length, 0),
      tableStride: stride,
      numCopies: copies.length,
    },
    options.returnLogits ? STEP_RETURN_LOGITS : 0,
  );
  let t = 0;
  let r = 0;
  sequences.forEach((sequence, s) => {
    for (const { token, slot = -1, target = -1, top = -1, draft = -1 } of sequence.rows) {
      step.rowTokens[r] = t + token;
      step.rowSlots[r] = slot;
      step.rowTargets[r] = target;
      step.rowTops[r] = top;
      step.rowDrafts[r++] = draft;
    }
    for (let i = 0; i < sequence.ids.length; i++, t++) {
      const position = sequence.start + i;
      step.inputIds[t] = sequence.ids[i]!;
      step.positions[t] = position;
      step.slotMapping[t] = sequence.blocks[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
    }
    step.cuSeqlens[s + 1] = t;
    step.contextLens[s] = sequence.start + sequence.ids.length;
    for (let i = 0; i < stride; i++) step.blockTables[s * stride + i] = sequence.blocks[i] ?? -1;
  });
  step.copies.set(copies.flat());
  return step.words;
}

/** A step's result, taken apart. */
export interface Rows {
  /** All of it, as it came. */
  words: Int32Array;
  tokens: Int32Array;
  ranks: Int32Array;
  logprobs: Float32Array;
  topIds: Int32Array[];
  topLogprobs: Float32Array[];
}

function rowsOf(result: StepResult): Rows {
  const { words, floats, numRows, maxTop } = result;
  const slices = <T>(of: (from: number, to: number) => T, base: number): T[] =>
    Array.from({ length: numRows }, (_, r) => of(base + r * maxTop, base + (r + 1) * maxTop));
  return {
    words,
    tokens: words.slice(0, numRows),
    ranks: words.slice(result.ranks, result.ranks + numRows),
    logprobs: floats.slice(result.logprobs, result.logprobs + numRows),
    topIds: slices((a, b) => words.slice(a, b), result.topIds),
    topLogprobs: slices((a, b) => floats.slice(a, b), result.topLogprobs),
  };
}

export function runStep(
  backend: NativeBackend,
  sequences: readonly SequenceStep[],
  options: Omit<StepOptions, "blockSize"> = {},
): Rows {
  const numRows = sequences.reduce((n, s) => n + s.rows.length, 0);
  const maxTop = Math.max(0, ...sequences.flatMap((s) => s.rows.map((r) => r.top ?? -1)));
  const ticket = backend.submit(packStep(sequences, { ...options, blockSize: backend.info.blockSize }));
  const result = new StepResult(numRows, maxTop);
  backend.wait(ticket, result.words);
  return rowsOf(result);
}

/** Runs a step and returns the raw logits [rows][vocab]. */
export function logitsOf(backend: NativeBackend, sequences: readonly SequenceStep[]): Float32Array {
  return runStepWithLogits(backend, sequences).logits;
}

/** Runs a step; logits are raw, [rows][vocab]. */
export function runStepWithLogits(
  backend: NativeBackend,
  sequences: readonly SequenceStep[],
): Rows & { logits: Float32Array } {
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
