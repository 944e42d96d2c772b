import type { Isa, KvDtype, WeightFormat } from "../backend/abi.ts";
import type { FakeBackendConfig } from "../backend/fake-backend.ts";
import type { NativeEngineHandle } from "../backend/native-backend.ts";
import type { NativeModel } from "../backend/native-model.ts";
import type { NullBackendConfig } from "../backend/null-backend.ts";
import type { LoadPlan } from "../model/spec.ts";

/** What a Worker computes on. Plain data: it is posted. */
export type BackendConfig =
  | { readonly kind: "load"; readonly load: NativeLoad }
  /** Native state that a Worker left behind. */
  | { readonly kind: "attach"; readonly handle: NativeEngineHandle; readonly model: NativeModel }
  | { readonly kind: "fake"; readonly fake: FakeBackendConfig }
  | { readonly kind: "null"; readonly info: NullBackendConfig };

export interface NativeLoad {
  readonly plan: LoadPlan;
  /** From locateLibrary(): the same path in every Worker. */
  readonly libraryPath: string;
  readonly weightFormat: WeightFormat;
  readonly isa: Isa;
  /** Compute threads; 0: one a core. */
  readonly numThreads: number;
  /** auto: defaultKvDtype(). */
  readonly kvDtype: KvDtype | "auto";
  /** Tokens a KV block. */
  readonly blockSize: number;
  /** 0: sized from what is free, see kv-sizing.ts. */
  readonly kvCacheMemoryBytes: number;
  /** 0: the checkpoint's. */
  readonly maxModelLen: number;
}
