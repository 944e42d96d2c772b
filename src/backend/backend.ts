/**
 * The engine's view of a device: one packed descriptor a step in, one packed result out, both
 * laid out in step-layout.ts. Implementations: backend/native-backend.ts over bun:ffi, backend/fake-backend.ts.
 */
export interface Backend {
  readonly info: BackendInfo;
  /** Sets a slot's sampling state; allowed while a step that does not use the slot is in flight. */
  setSlot(slot: number, params: SlotParams): void;
  /** Starts a step. The buffer may be reused on return. Throws BackendError. */
  submit(step: Int32Array): Ticket;
  /** Blocks until the step is done and fills `result`, as long as StepResult lays it out. Throws BackendError. */
  wait(ticket: Ticket, result: Int32Array): void;
  /** Waits for the step in flight, forgets every slot, keeps the weights. */
  reset(): void;
  /**
   * Makes working memory and the KV of blocks [0, numBlocks) resident, `most` bytes a call; `from` is what the last call
   * returned, at first 0. Less than from + most when all of it is. Not while a step is in flight.
   */
  touch(numBlocks: number, from: number, most: number): number;
  /** Gives the memory of blocks back to the system: what they hold is lost. Not while a step is in flight. */
  release(firstBlock: number, numBlocks: number): void;
  /** Time that the steps done so far took on the device, summed. Cheap enough for every step. */
  stepMs(): number;
  profile(enable: boolean): BackendProfile;
  close(): void;
}

export type Ticket = number;

export interface BackendInfo {
  /** "cpu", "cuda" or "fake". */
  readonly name: string;
  /** Instruction set or device, for people. */
  readonly device: string;
  readonly vocabSize: number;
  readonly maxModelLen: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly maxNumSeqs: number;
  readonly maxBatchedTokens: number;
  readonly maxLogitRows: number;
  readonly kvBlockBytes: number;
  readonly weightBytes: number;
  /** What a step computes in, beside weights and KV. */
  readonly workspaceBytes: number;
  readonly numThreads: number;
  /** Sliding window of every layer in tokens, or 0 when any layer attends to everything. */
  readonly slidingWindow: number;
}

/** Mirrors sl_slot_params. */
export interface SlotParams {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repetitionPenalty: number;
  frequencyPenalty: number;
  presencePenalty: number;
  /** 64 bits, signed or unsigned. */
  seed: number | bigint;
  minTokens: number;
  stopIds: ArrayLike<number>;
  logitBias: ReadonlyArray<readonly [number, number]>;
  promptTokens: Int32Array;
  outputTokens: Int32Array;
}

export interface BackendProfile {
  steps: number;
  tokens: number;
  stepNs: number;
  idleNs: number;
  /** By SL_STAGE_* name. */
  stages: Record<string, { ns: number; bytes: number; ops: number }>;
}

export class BackendError extends Error {
  readonly status: number;
  /** True when only a new process helps (a sticky device error). */
  readonly sticky: boolean;
  constructor(status: number, message: string) {
    super(message);
    this.name = "BackendError";
    this.status = status;
    this.sticky = status === -5;
  }
}
