import type { Isa } from "../../src/backend/abi.ts";
import type { Backend, BackendProfile, Ticket } from "../../src/backend/backend.ts";
import { createNativeEngine } from "../../src/backend/native-backend.ts";
import { defaultKvDtype, loadNativeModel, type NativeModel } from "../../src/backend/native-model.ts";
import { StepResult } from "../../src/backend/step-layout.ts";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { openModel } from "../../src/model/open-model.ts";
import { GREEDY } from "../../test/kernels/step.ts";
import type { Measurement, MeasurementRequest, Side } from "./measurement.ts";
import { buildStep, type SequenceChunk } from "./step-builder.ts";

const BLOCK_TOKENS = 32;
/** Parts of a decode between which something else can be measured. */
const DECODE_PARTS = 4;
/** Steps of a decode that are not timed: the first of each part, which finds threads asleep and caches full of other things. */
export const WARM_STEPS = DECODE_PARTS;

/**
 * Our engine in this process, below the scheduler: steps go straight to the backend, as a peer's worker calls its own
 * engine. A step samples every stream (greedy), as OpenVINO's steps do and llama.cpp's do not.
 */
export class ScaleLlmSide implements Side {
  readonly name = "scalellm";
  private readonly result = new StepResult();

  constructor(
    private readonly backend: Backend,
    private readonly clock: Clock,
  ) {}

  /**
   * Loads a model and makes an engine for so many sequences of up to maxModelLen tokens, of which a decode takes
   * WARM_STEPS, and steps of up to maxBatchedTokens.
   */
  static open(options: {
    readonly model: string;
    readonly libraryPath: string;
    readonly isa: Isa;
    readonly numThreads: number;
    readonly maxNumSeqs: number;
    readonly maxModelLen: number;
    readonly maxBatchedTokens: number;
  }): { side: ScaleLlmSide; model: NativeModel } {
    const { libraryPath, isa, numThreads, maxNumSeqs, maxModelLen } = options;
    const { plan } = openModel(options.model);
    const model = loadNativeModel(plan, { libraryPath, weightFormat: "auto", isa, numThreads });
    const backend = createNativeEngine(model, {
      numThreads,
      blockSize: BLOCK_TOKENS,
      numBlocks: maxNumSeqs * Math.ceil(maxModelLen / BLOCK_TOKENS),
      // 16 bits a value, as llama.cpp's default is.
      kvDtype: defaultKvDtype(model, "auto"),
      maxNumSeqs,
      maxBatchedTokens: Math.max(options.maxBatchedTokens, maxNumSeqs),
      maxLogitRows: maxNumSeqs,
      maxModelLen,
    });
    return { side: new ScaleLlmSide(backend, systemClock), model };
  }

  /** Calls pause, which is not timed, before the first part of the request, between its parts and after the last. */
  async measure(request: MeasurementRequest, pause: () => void = () => {}): Promise<Measurement> {
    return request.kind === "decode" ? this.decode(request, pause) : this.prefill(request.tokens, pause);
  }

  /** Bytes the engine has to read and multiply-adds it has to do for a request, as the engine itself counts them. */
  async workOf(request: MeasurementRequest): Promise<{ bytes: number; ops: number }> {
    // A decode's prompts and warm steps are not timed: the difference of two lengths leaves the others.
    const total = async (each: MeasurementRequest): Promise<{ bytes: number; ops: number }> => {
      const before = totals(this.backend.profile(true));
      await this.measure(each);
      const after = totals(this.backend.profile(false));
      return { bytes: after.bytes - before.bytes, ops: after.ops - before.ops };
    };
    const whole = await total(request);
    if (request.kind === "prefill") return whole;
    const prompts = await total({ ...request, tokens: 0 });
    return { bytes: whole.bytes - prompts.bytes, ops: whole.ops - prompts.ops };
  }

  async close(): Promise<void> {
    this.backend.close();
  }

  private decode(request: Extract<MeasurementRequest, { kind: "decode" }>, pause: () => void): Measurement {
    const { streams, promptTokens, tokens } = request;
    for (let sequence = 0; sequence < streams; sequence++) {
      this.backend.setSlot(sequence, GREEDY);
      this.run([{ sequence, start: 0, inputIds: this.prompt(sequence, promptTokens) }]);
    }
    const sequences = Array.from({ length: streams }, (_, sequence) => sequence);
    let start = promptTokens;
    const submit = () => {
      const ticket = this.submit(sequences.map((sequence) => ({ sequence, start, inputIds: [-1 - sequence] })));
      start++;
      return ticket;
    };
    const warm = () => this.wait(submit(), streams);
    const run = (steps: number) => {
      // As the engine does: a step is submitted while the one before it computes.
      let before: Ticket | undefined;
      for (let step = 0; step < steps; step++) {
        const ticket = submit();
        if (before !== undefined) this.wait(before, streams);
        before = ticket;
      }
      if (before !== undefined) this.wait(before, streams);
    };
    const parts = Array.from({ length: DECODE_PARTS }, (_, part) => {
      const steps = Math.floor((tokens * (part + 1)) / DECODE_PARTS) - Math.floor((tokens * part) / DECODE_PARTS);
      return { warm, run: () => run(steps) };
    });
    return this.timed(streams * tokens, parts, pause);
  }

  private prefill(tokens: number, pause: () => void): Measurement {
    this.backend.setSlot(0, GREEDY);
    const inputIds = this.prompt(0, tokens);
    const { maxBatchedTokens } = this.backend.info;
    const run = () => {
      for (let start = 0; start < tokens; start += maxBatchedTokens) {
        this.run([{ sequence: 0, start, inputIds: inputIds.subarray(start, start + maxBatchedTokens) }]);
      }
    };
    return this.timed(tokens, [{ warm: () => {}, run }], pause);
  }

  private run(chunks: readonly SequenceChunk[]): void {
    this.wait(this.submit(chunks), chunks.length);
  }

  private submit(chunks: readonly SequenceChunk[]): Ticket {
    const { info } = this.backend;
    return this.backend.submit(buildStep(chunks, info, Math.floor(info.numBlocks / info.maxNumSeqs)));
  }

  private wait(ticket: Ticket, rows: number): void {
    this.backend.wait(ticket, this.result.layOut(rows, -1));
  }

  /** Ids that look like text: spread over the vocabulary, without the control tokens at its start. */
  private prompt(seed: number, length: number): Int32Array {
    const spread = this.backend.info.vocabSize - 2000;
    return Int32Array.from({ length }, (_, i) => 1000 + (((i + seed) * 7919) % spread));
  }

  private timed(
    tokens: number,
    parts: ReadonlyArray<{ readonly warm: () => void; readonly run: () => void }>,
    pause: () => void,
  ): Measurement {
    let seconds = 0;
    let cpuSeconds = 0;
    pause();
    for (const { warm, run } of parts) {
      warm();
      const cpu = process.cpuUsage();
      const startedMs = this.clock.nowMs();
      run();
      seconds += (this.clock.nowMs() - startedMs) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      cpuSeconds += (user + system) / 1e6;
      pause();
    }
    return { tokens, seconds, cpuSeconds, tokensPerS: tokens / seconds };
  }
}

function totals({ stages }: BackendProfile): { bytes: number; ops: number } {
  const all = Object.values(stages);
  return { bytes: all.reduce((sum, s) => sum + s.bytes, 0), ops: all.reduce((sum, s) => sum + s.ops, 0) };
}
