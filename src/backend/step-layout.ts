/**
 * A step and its result as int32 arrays: where each part lies. kernels/include/scalellm.h says what the parts mean. This
 * is the one place in TypeScript that knows the layout.
 */
import { ABI_VERSION, STATUS } from "./abi.ts";
import { BackendError } from "./backend.ts";

/** Words of a step's header: SL_STEP_*. */
export const STEP = {
  version: 0,
  numTokens: 1,
  numSeqs: 2,
  numRows: 3,
  tableStride: 4,
  numCopies: 5,
  flags: 6,
  numWords: 7,
  headerWords: 16,
} as const;
export const STEP_RETURN_LOGITS = 1;
export const MAX_TOP_LOGPROBS = 20;

export interface StepCounts {
  readonly numTokens: number;
  readonly numSeqs: number;
  readonly numRows: number;
  /** Blocks in a row of the block tables. */
  readonly tableStride: number;
  /** (source, destination) pairs. */
  readonly numCopies: number;
}

/** First words of a step's sections. Reused from step to step: layOut() allocates nothing. */
export class StepLayout implements StepCounts {
  numTokens = 0;
  numSeqs = 0;
  numRows = 0;
  tableStride = 0;
  numCopies = 0;

  readonly inputIds = STEP.headerWords;
  positions = 0;
  slotMapping = 0;
  cuSeqlens = 0;
  contextLens = 0;
  blockTables = 0;
  rowTokens = 0;
  rowSlots = 0;
  rowTargets = 0;
  rowTops = 0;
  rowDrafts = 0;
  copies = 0;
  /** Of the whole array, header included. */
  numWords = 0;

  layOut(numTokens: number, numSeqs: number, numRows: number, tableStride: number, numCopies: number): this {
    this.numTokens = numTokens;
    this.numSeqs = numSeqs;
    this.numRows = numRows;
    this.tableStride = tableStride;
    this.numCopies = numCopies;
    this.positions = this.inputIds + numTokens;
    this.slotMapping = this.positions + numTokens;
    this.cuSeqlens = this.slotMapping + numTokens;
    this.contextLens = this.cuSeqlens + numSeqs + 1;
    this.blockTables = this.contextLens + numSeqs;
    this.rowTokens = this.blockTables + numSeqs * tableStride;
    this.rowSlots = this.rowTokens + numRows;
    this.rowTargets = this.rowSlots + numRows;
    this.rowTops = this.rowTargets + numRows;
    this.rowDrafts = this.rowTops + numRows;
    this.copies = this.rowDrafts + numRows;
    this.numWords = this.copies + 2 * numCopies;
    return this;
  }

  writeHeader(step: Int32Array, flags = 0): void {
    step.fill(0, 0, STEP.headerWords);
    step[STEP.version] = ABI_VERSION;
    step[STEP.numTokens] = this.numTokens;
    step[STEP.numSeqs] = this.numSeqs;
    step[STEP.numRows] = this.numRows;
    step[STEP.tableStride] = this.tableStride;
    step[STEP.numCopies] = this.numCopies;
    step[STEP.flags] = flags;
    step[STEP.numWords] = this.numWords;
  }
}

/** A step as views of its sections. */
export interface StepSections extends StepCounts {
  readonly flags: number;
  /** The whole step. */
  readonly words: Int32Array;
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

/** A step with its header written and its sections zero, to be filled through the views. */
export function createStep(counts: StepCounts, flags = 0): StepSections {
  const { numTokens, numSeqs, numRows, tableStride, numCopies } = counts;
  const layout = new StepLayout().layOut(numTokens, numSeqs, numRows, tableStride, numCopies);
  const words = new Int32Array(layout.numWords);
  layout.writeHeader(words, flags);
  return openStep(words);
}

/** Views of a packed step. Throws BackendError where its header does not fit it; sections are not checked. */
export function openStep(words: Int32Array): StepSections {
  if (words[STEP.version] !== ABI_VERSION) throw new BackendError(STATUS.argument, "version: not this ABI's");
  const at = new StepLayout().layOut(
    words[STEP.numTokens]!,
    words[STEP.numSeqs]!,
    words[STEP.numRows]!,
    words[STEP.tableStride]!,
    words[STEP.numCopies]!,
  );
  if (words[STEP.numWords] !== words.length || at.numWords !== words.length) {
    throw new BackendError(STATUS.argument, "num_words: does not match the step or its counts");
  }
  return {
    numTokens: at.numTokens,
    numSeqs: at.numSeqs,
    numRows: at.numRows,
    tableStride: at.tableStride,
    numCopies: at.numCopies,
    flags: words[STEP.flags]!,
    words,
    inputIds: words.subarray(at.inputIds, at.positions),
    positions: words.subarray(at.positions, at.slotMapping),
    slotMapping: words.subarray(at.slotMapping, at.cuSeqlens),
    cuSeqlens: words.subarray(at.cuSeqlens, at.contextLens),
    contextLens: words.subarray(at.contextLens, at.blockTables),
    blockTables: words.subarray(at.blockTables, at.rowTokens),
    rowTokens: words.subarray(at.rowTokens, at.rowSlots),
    rowSlots: words.subarray(at.rowSlots, at.rowTargets),
    rowTargets: words.subarray(at.rowTargets, at.rowTops),
    rowTops: words.subarray(at.rowTops, at.rowDrafts),
    rowDrafts: words.subarray(at.rowDrafts, at.copies),
    copies: words.subarray(at.copies, at.numWords),
  };
}

/**
 * A step's result, R rows of which one asks for at most M top logprobs, in one int32 array:
 *
 *   token ids [R] | ranks [R] | logprobs [R] | top ids [R][M] | top logprobs [R][M]
 *
 * Logprobs are float32 bits. kernels/include/scalellm.h says what the parts mean. Reused from step to step.
 */
export class StepResult {
  /** The array; token ids come first. */
  words: Int32Array;
  numRows = 0;
  /** M. */
  maxTop = 0;
  // First words of the parts.
  ranks = 0;
  logprobs = 0;
  topIds = 0;
  topLogprobs = 0;
  #buffer: Int32Array;

  constructor(numRows = 0, maxTop = 0) {
    // A view of an empty buffer has no address to pass to native code, even for a step without rows.
    this.#buffer = new Int32Array(1);
    this.words = this.#buffer;
    this.layOut(numRows, maxTop);
  }

  /** Makes room for a step and returns the array for Backend.wait to fill. maxTop may be -1, of rows without logprobs. */
  layOut(numRows: number, maxTop: number): Int32Array {
    this.numRows = numRows;
    this.maxTop = Math.max(0, maxTop);
    this.ranks = numRows;
    this.logprobs = 2 * numRows;
    this.topIds = 3 * numRows;
    this.topLogprobs = this.topIds + numRows * this.maxTop;
    const numWords = this.topLogprobs + numRows * this.maxTop;
    if (this.#buffer.length < numWords) this.#buffer = new Int32Array(2 * numWords);
    this.words = this.#buffer.subarray(0, numWords);
    return this.words;
  }

  /** The array as float32, for its logprobs. */
  get floats(): Float32Array {
    return new Float32Array(this.words.buffer, this.words.byteOffset, this.words.length);
  }
}
