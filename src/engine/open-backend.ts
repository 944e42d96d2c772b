import type { Backend } from "../backend/backend.ts";
import { FakeBackend } from "../backend/fake-backend.ts";
import { createNativeEngine, NativeBackend } from "../backend/native-backend.ts";
import {
  defaultKvDtype,
  freeNativeModel,
  kvBlockBytes,
  loadNativeModel,
  type NativeModel,
} from "../backend/native-model.ts";
import { NullBackend } from "../backend/null-backend.ts";
import { probe } from "../backend/probe.ts";
import { systemClock } from "../core/clock.ts";
import type { BackendConfig, NativeLoad } from "./backend-config.ts";
import type { EngineOptions } from "./engine-options.ts";
import { refuseTooLarge, sizeKvCache } from "./kv-sizing.ts";

/** Slots beyond the sequences that run: a slot that was given back rests for a step before it can be used again. */
const SPARE_SLOTS = 8;
/** Logit rows of a step at least, so that prompt logprobs go on in useful chunks. Each costs a row of logits in memory. */
const MIN_LOGIT_ROWS = 64;

export interface OpenedBackend {
  readonly backend: Backend;
  readonly reattach: BackendConfig;
  /** For people. */
  readonly notices: readonly string[];
  /** Frees the backend, and the weights where there are any. */
  close(): void;
}

/** Loads or attaches to what a config names. Blocks while weights load. Throws BackendError. */
export function openBackend(config: BackendConfig, options: EngineOptions): OpenedBackend {
  switch (config.kind) {
    case "load":
      return loadBackend(config.load, options);
    case "attach": {
      const backend = new NativeBackend(config.handle);
      // Waits for the step that the last Worker left running.
      backend.reset();
      return nativeBackend(backend, config.model, []);
    }
    case "fake": {
      const backend = new FakeBackend(config.fake, systemClock);
      return { backend, reattach: config, notices: [], close: () => backend.close() };
    }
    case "null":
      return { backend: new NullBackend(config.info), reattach: config, notices: [], close: () => {} };
  }
}

function nativeBackend(backend: NativeBackend, model: NativeModel, notices: readonly string[]): OpenedBackend {
  const close = () => {
    backend.close();
    freeNativeModel(model);
  };
  return { backend, reattach: { kind: "attach", handle: backend.handle, model }, notices, close };
}

function loadBackend(load: NativeLoad, options: EngineOptions): OpenedBackend {
  const weightBytes = load.plan.tensors.reduce((sum, tensor) => sum + tensor.numBytes, 0);
  refuseTooLarge(weightBytes, load.weightFormat, probe(load.libraryPath));
  const model = loadNativeModel(load.plan, {
    libraryPath: load.libraryPath,
    weightFormat: load.weightFormat,
    isa: load.isa,
    numThreads: load.numThreads,
  });
  const notices: string[] = [];
  const wanted = load.maxModelLen > 0 ? Math.min(load.maxModelLen, model.maxPositions) : model.maxPositions;
  if (load.maxModelLen > wanted) {
    notices.push(`The checkpoint supports ${wanted} tokens of context; ${load.maxModelLen} were asked for.`);
  }
  const { availableMemoryBytes, totalMemoryBytes, memoryLimit } = probe(load.libraryPath);
  if (memoryLimit !== "") {
    notices.push(`Memory is limited to ${(totalMemoryBytes / 1e9).toFixed(2)} GB by ${memoryLimit}.`);
  }
  if (load.kvCacheMemoryBytes > availableMemoryBytes) {
    const [asked, available] = [load.kvCacheMemoryBytes, availableMemoryBytes].map((bytes) => (bytes / 1e9).toFixed(1));
    notices.push(`--kv-cache-memory asks for ${asked} GB, but ${available} GB are free: a full cache will not fit.`);
  }
  const kvDtype = load.kvDtype === "auto" ? defaultKvDtype(model, load.weightFormat) : load.kvDtype;
  const size = sizeKvCache({
    blockBytes: kvBlockBytes(model, load.blockSize, kvDtype),
    blockSize: load.blockSize,
    kvCacheMemoryBytes: load.kvCacheMemoryBytes,
    availableMemoryBytes,
    maxModelLen: wanted,
    maxNumSeqs: options.maxNumSeqs,
  });
  if (size.maxModelLen < wanted) {
    notices.push(
      `The KV cache holds ${size.maxModelLen} tokens, so the context is clipped to that from ${wanted}; ` +
        "--kv-cache-memory gives it more.",
    );
  }
  const backend = createNativeEngine(model, {
    numThreads: load.numThreads,
    blockSize: load.blockSize,
    numBlocks: size.numBlocks,
    kvDtype,
    maxNumSeqs: options.maxNumSeqs + SPARE_SLOTS,
    maxBatchedTokens: options.maxNumBatchedTokens,
    maxLogitRows: Math.max(MIN_LOGIT_ROWS, options.maxNumSeqs * (1 + options.speculativeTokens)),
    maxModelLen: size.maxModelLen,
  });
  return nativeBackend(backend, model, notices);
}
