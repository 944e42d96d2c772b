import { enumValue, KV_DTYPES, type KvDtype, SL_ENGINE_CONFIG, SL_ENGINE_INFO, SL_PROFILE, STAGES } from "./abi.ts";
import type { Backend, BackendInfo, BackendProfile, SlotParams, Ticket } from "./backend.ts";
import type { NativeHandle, NativeLibrary } from "./ffi.ts";
import { openLibrary } from "./library.ts";
import type { NativeModel } from "./native-model.ts";
import { probe } from "./probe.ts";
import { SlotWriter } from "./slot-writer.ts";
import { readField, writeStruct } from "./struct-layout.ts";

export interface EngineConfig {
  /** Compute threads; 0: one a core. */
  readonly numThreads: number;
  /** Tokens a KV block: a power of two, 8 to 256. */
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly kvDtype: KvDtype;
  readonly maxNumSeqs: number;
  readonly maxBatchedTokens: number;
  readonly maxLogitRows: number;
  readonly maxModelLen: number;
}

/** A native engine as plain data: it outlives the Worker that made it, and another attaches to it. */
export interface NativeEngineHandle {
  readonly libraryPath: string;
  readonly engine: NativeHandle;
  readonly info: BackendInfo;
}

/** Creates an engine (KV cache, threads, slots) over loaded weights. Throws BackendError. */
export function createNativeEngine(model: NativeModel, config: EngineConfig): NativeBackend {
  const library = openLibrary(model.libraryPath);
  const numThreads = config.numThreads > 0 ? config.numThreads : probe(model.libraryPath).numCores;
  const view = new DataView(new ArrayBuffer(SL_ENGINE_CONFIG.size));
  writeStruct(SL_ENGINE_CONFIG, view, 0, {
    struct_bytes: SL_ENGINE_CONFIG.size,
    num_threads: numThreads,
    block_size: config.blockSize,
    num_blocks: config.numBlocks,
    kv_dtype: enumValue(KV_DTYPES, config.kvDtype),
    max_num_seqs: config.maxNumSeqs,
    max_batched_tokens: config.maxBatchedTokens,
    max_logit_rows: config.maxLogitRows,
    max_model_len: config.maxModelLen,
  });
  const engine = library.create("sl_engine_create", model.handle, view);
  const info = new DataView(new ArrayBuffer(SL_ENGINE_INFO.size));
  library.info("sl_engine_get_info", engine, info);
  return new NativeBackend({
    libraryPath: model.libraryPath,
    engine,
    info: {
      name: library.buildInfo().startsWith("cuda") ? "cuda" : "cpu",
      device: model.info.isa,
      vocabSize: model.vocabSize,
      maxModelLen: config.maxModelLen,
      blockSize: config.blockSize,
      numBlocks: config.numBlocks,
      maxNumSeqs: config.maxNumSeqs,
      maxBatchedTokens: config.maxBatchedTokens,
      maxLogitRows: config.maxLogitRows,
      kvBlockBytes: readField(SL_ENGINE_INFO.fields.kv_block_bytes, info),
      weightBytes: model.info.weightBytes,
      workspaceBytes: readField(SL_ENGINE_INFO.fields.workspace_bytes, info),
      numThreads,
      slidingWindow: model.slidingWindow,
    },
  });
}

/** The Backend over the native library. One thread drives it; submit and wait allocate nothing. */
export class NativeBackend implements Backend {
  readonly info: BackendInfo;
  readonly #library: NativeLibrary;
  readonly #handle: NativeEngineHandle;
  readonly #slots = new SlotWriter();
  readonly #profile = new DataView(new ArrayBuffer(SL_PROFILE.size));
  #profiling = false;
  #closed = false;

  /** Attaches to an engine that createNativeEngine made in this process. Call reset() if its last driver died. */
  constructor(handle: NativeEngineHandle) {
    this.#handle = handle;
    this.#library = openLibrary(handle.libraryPath);
    this.info = handle.info;
  }

  /** For posting to a Worker, which attaches with `new NativeBackend(handle)`; this one must then not be used. */
  get handle(): NativeEngineHandle {
    return this.#handle;
  }

  setSlot(slot: number, params: SlotParams): void {
    try {
      this.#library.setSlot(this.#engine, slot, this.#slots.write(params));
    } finally {
      this.#slots.release();
    }
  }

  submit(step: Int32Array): Ticket {
    return this.#library.submit(this.#engine, step);
  }

  wait(ticket: Ticket, result: Int32Array): void {
    this.#library.wait(this.#engine, ticket, result);
  }

  /** Raw logits [rows, vocabSize] of the step last waited for, which must have asked with STEP_RETURN_LOGITS. */
  logits(out: Float32Array): void {
    this.#library.logits(this.#engine, out);
  }

  reset(): void {
    this.#library.resetEngine(this.#engine);
  }

  touch(numBlocks: number, from: number, most: number): number {
    return this.#library.touch(this.#engine, numBlocks, from, most);
  }

  release(firstBlock: number, numBlocks: number): void {
    this.#library.release(this.#engine, firstBlock, numBlocks);
  }

  stepMs(): number {
    this.#library.profile(this.#engine, this.#profiling, this.#profile);
    return readField(SL_PROFILE.fields.step_ns, this.#profile) / 1e6;
  }

  profile(enable: boolean): BackendProfile {
    this.#profiling = enable;
    const view = this.#profile;
    this.#library.profile(this.#engine, enable, view);
    const { fields } = SL_PROFILE;
    const stages: BackendProfile["stages"] = {};
    STAGES.forEach((stage, i) => {
      stages[stage] = {
        ns: readField(fields.stage_ns, view, i),
        bytes: readField(fields.stage_bytes, view, i),
        ops: readField(fields.stage_ops, view, i),
      };
    });
    return {
      steps: readField(fields.steps, view),
      tokens: readField(fields.tokens, view),
      stepNs: readField(fields.step_ns, view),
      idleNs: readField(fields.idle_ns, view),
      stages,
    };
  }

  /** Frees the engine and its KV cache; the weights stay. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#library.freeEngine(this.#handle.engine);
  }

  get #engine(): NativeHandle {
    // A freed handle would crash the process instead of failing the call.
    if (this.#closed) throw new Error("The engine is closed");
    return this.#handle.engine;
  }
}
