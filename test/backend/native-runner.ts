import type { Isa, KvDtype, WeightFormat } from "../../src/backend/abi.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import { createNativeEngine, type NativeBackend } from "../../src/backend/native-backend.ts";
import { defaultKvDtype, freeNativeModel, loadNativeModel, type NativeModel } from "../../src/backend/native-model.ts";
import type { LoadPlan } from "../../src/model/spec.ts";
import { GREEDY, type Row, type Rows, runStep } from "../kernels/step.ts";

const BLOCK_SIZE = 16;

/** One sequence at a time through the native engine, for comparisons with references. */
export class NativeRunner implements Disposable {
  readonly model: NativeModel;
  readonly backend: NativeBackend;
  readonly #table: number[];

  private constructor(model: NativeModel, maxModelLen: number, kvDtype: KvDtype) {
    this.model = model;
    const numBlocks = Math.ceil(maxModelLen / BLOCK_SIZE);
    this.backend = createNativeEngine(model, {
      numThreads: 2,
      blockSize: BLOCK_SIZE,
      numBlocks,
      kvDtype,
      maxNumSeqs: 4,
      maxBatchedTokens: 128,
      maxLogitRows: 128,
      maxModelLen,
    });
    // Scattered, as in a pool that has been in use.
    this.#table = Array.from({ length: numBlocks }, (_, i) => (i % 2 === 0 ? numBlocks - 1 - i / 2 : (i - 1) / 2));
  }

  static async open(
    plan: LoadPlan,
    {
      weights,
      kv,
      maxModelLen,
      isa = "auto",
    }: { weights: WeightFormat; kv: KvDtype | "auto"; maxModelLen: number; isa?: Isa },
  ): Promise<NativeRunner> {
    const model = loadNativeModel(plan, {
      libraryPath: await locateLibrary(),
      weightFormat: weights,
      isa,
      numThreads: 2,
    });
    return new NativeRunner(model, maxModelLen, kv === "auto" ? defaultKvDtype(model, weights) : kv);
  }

  /**
   * Feeds ids in chunks, with a row of logits after every `every`-th token. The row [vocab] is valid during the call;
   * nextLogprob is the library's own log probability of the token that follows (of token 0 after the last).
   */
  prefill(
    ids: Int32Array,
    { chunk, every }: { chunk: number; every: number },
    onRow: (position: number, logits: Float32Array, nextLogprob: number) => void,
  ): void {
    const vocab = this.model.vocabSize;
    const logits = new Float32Array(Math.ceil(chunk / every + 1) * vocab);
    for (let start = 0; start < ids.length; start += chunk) {
      const part = ids.subarray(start, start + chunk);
      const rows: Row[] = [];
      for (let token = 0; token < part.length; token++) {
        if ((start + token + 1) % every === 0)
          rows.push({ token, slot: -1, target: ids[start + token + 1] ?? 0, top: 0 });
      }
      const { logprobs } = this.#run(part, start, rows, true);
      if (rows.length > 0) this.backend.logits(logits.subarray(0, rows.length * vocab));
      rows.forEach(({ token }, row) => {
        onRow(start + token, logits.subarray(row * vocab, (row + 1) * vocab), logprobs[row]!);
      });
    }
  }

  /** The argmax continuation of a prompt, each token computed from the one that the slot sampled. */
  greedy(prompt: Int32Array, numTokens: number, stopIds: readonly number[] = []): number[] {
    const slot = 1;
    this.backend.setSlot(slot, GREEDY);
    const tokens: number[] = [];
    const chunk = 100;
    for (let start = 0; start < prompt.length; start += chunk) {
      const part = prompt.subarray(start, start + chunk);
      const isLast = start + chunk >= prompt.length;
      const result = this.#run(part, start, isLast ? [{ token: part.length - 1, slot }] : [], false);
      tokens.push(...result.tokens);
    }
    while (tokens.length < numTokens && !stopIds.includes(tokens[tokens.length - 1]!)) {
      const position = prompt.length + tokens.length - 1;
      tokens.push(...this.#run([-1 - slot], position, [{ token: 0, slot }], false).tokens);
    }
    return tokens;
  }

  [Symbol.dispose](): void {
    this.backend.close();
    freeNativeModel(this.model);
  }

  #run(ids: ArrayLike<number>, start: number, rows: readonly Row[], returnLogits: boolean): Rows {
    const blocks = this.#table.slice(0, Math.ceil((start + ids.length) / BLOCK_SIZE));
    return runStep(this.backend, [{ ids, start, blocks, rows }], { returnLogits });
  }
}
