import { CString, dlopen, FFIType, type Pointer, ptr } from "bun:ffi";
import { ABI_VERSION, STATUS } from "./abi.ts";
import { BackendError } from "./backend.ts";

/** A native object's address. Valid in every Worker of the process that opened the same library file. */
export type NativeHandle = number;

function openSymbols(path: string) {
  return dlopen(path, {
    sl_last_error: { args: [], returns: "ptr" },
    sl_model_load: { args: ["ptr", "ptr"], returns: "i32" },
    sl_model_get_info: { args: ["ptr", "ptr"], returns: "i32" },
    sl_model_free: { args: ["ptr"], returns: "void" },
    sl_engine_create: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
    sl_engine_get_info: { args: ["ptr", "ptr"], returns: "i32" },
    sl_engine_reset: { args: ["ptr"], returns: "i32" },
    sl_engine_touch: { args: ["ptr", "i32", FFIType.i64_fast, FFIType.i64_fast], returns: FFIType.i64_fast },
    sl_engine_release: { args: ["ptr", "i32", "i32"], returns: FFIType.i64_fast },
    sl_engine_free: { args: ["ptr"], returns: "void" },
    sl_kv_block_bytes: { args: ["ptr", "i32", "i32"], returns: FFIType.i64_fast },
    sl_engine_slot_set: { args: ["ptr", "i32", "ptr"], returns: "i32" },
    // "fast" 64-bit values are plain numbers where they fit 53 bits, as tickets and sizes do: no BigInt a step.
    sl_engine_submit: { args: ["ptr", "ptr", FFIType.i64_fast], returns: FFIType.i64_fast },
    sl_engine_wait: { args: ["ptr", FFIType.i64_fast, "ptr", FFIType.i64_fast], returns: "i32" },
    sl_engine_logits: { args: ["ptr", "ptr", FFIType.i64_fast], returns: "i32" },
    sl_engine_profile: { args: ["ptr", "i32", "ptr"], returns: "i32" },
    sl_probe: { args: ["ptr", "ptr"], returns: "i32" },
    sl_measure_limits: { args: ["i32", "i32", "ptr"], returns: "i32" },
    sl_abi_describe: { args: [], returns: "ptr" },
    sl_build_info: { args: [], returns: "ptr" },
  }).symbols;
}

/** Creates one native object; `args` are addresses. */
type CreateCall = "sl_model_load" | "sl_engine_create";
/** Fills a struct that describes an object. */
type InfoCall = "sl_model_get_info" | "sl_engine_get_info";

/**
 * The library's entry points, typed. Buffers are passed as views and only used during the call, except where said;
 * a view must not be empty. A negative status becomes a BackendError with the library's message.
 */
export class NativeLibrary {
  readonly path: string;
  readonly #symbols: ReturnType<typeof openSymbols>;

  /** Throws BackendError where the file cannot be opened, lacks a symbol or is of another ABI version. */
  constructor(path: string, abiVersion: number = ABI_VERSION) {
    this.path = path;
    try {
      this.#symbols = openSymbols(path);
    } catch (error) {
      throw new BackendError(STATUS.io, `The native library ${path} cannot be opened: ${(error as Error).message}`);
    }
    const { version } = JSON.parse(this.describeAbi()) as { version: number };
    if (version === abiVersion) return;
    const versions = `it has version ${version} of the interface, this program needs ${abiVersion}`;
    throw new BackendError(STATUS.unsupported, `The native library ${path} cannot be used: ${versions}`);
  }

  create(call: CreateCall, ...args: readonly (NativeHandle | ArrayBufferView)[]): NativeHandle {
    const out = new BigUint64Array(1);
    const status =
      call === "sl_model_load"
        ? this.#symbols.sl_model_load(address(args[0]!), out)
        : this.#symbols.sl_engine_create(address(args[0]!), address(args[1]!), out);
    this.#check(status);
    return Number(out[0]);
  }

  info(call: InfoCall, handle: NativeHandle, out: ArrayBufferView): void {
    this.#check(this.#symbols[call](handle as Pointer, address(out)));
  }

  freeModel(model: NativeHandle): void {
    this.#symbols.sl_model_free(model as Pointer);
  }

  freeEngine(engine: NativeHandle): void {
    this.#symbols.sl_engine_free(engine as Pointer);
  }

  resetEngine(engine: NativeHandle): void {
    this.#check(this.#symbols.sl_engine_reset(engine as Pointer));
  }

  touch(engine: NativeHandle, numBlocks: number, from: number, most: number): number {
    return this.#check(Number(this.#symbols.sl_engine_touch(engine as Pointer, numBlocks, from, most)));
  }

  release(engine: NativeHandle, firstBlock: number, numBlocks: number): number {
    return this.#check(Number(this.#symbols.sl_engine_release(engine as Pointer, firstBlock, numBlocks)));
  }

  kvBlockBytes(model: NativeHandle, blockSize: number, kvDtype: number): number {
    return this.#check(Number(this.#symbols.sl_kv_block_bytes(model as Pointer, blockSize, kvDtype)));
  }

  setSlot(engine: NativeHandle, slot: number, params: ArrayBufferView): void {
    this.#check(this.#symbols.sl_engine_slot_set(engine as Pointer, slot, address(params)));
  }

  submit(engine: NativeHandle, step: Int32Array): number {
    return this.#check(this.#symbols.sl_engine_submit(engine as Pointer, step, step.length) as number);
  }

  wait(engine: NativeHandle, ticket: number, result: Int32Array): void {
    this.#check(this.#symbols.sl_engine_wait(engine as Pointer, ticket, result, result.length));
  }

  logits(engine: NativeHandle, out: Float32Array): void {
    this.#check(this.#symbols.sl_engine_logits(engine as Pointer, out, out.length));
  }

  profile(engine: NativeHandle, enable: boolean, out: ArrayBufferView): void {
    this.#check(this.#symbols.sl_engine_profile(engine as Pointer, enable ? 1 : 0, address(out)));
  }

  /** `root`: the folder that /proc and /sys are under; "" is this machine. */
  probe(root: string, out: ArrayBufferView): void {
    this.#check(this.#symbols.sl_probe(Buffer.from(`${root}\0`), address(out)));
  }

  measureLimits(isa: number, numThreads: number, out: ArrayBufferView): void {
    this.#check(this.#symbols.sl_measure_limits(isa, numThreads, address(out)));
  }

  /** The library's description of its structs, as JSON text. */
  describeAbi(): string {
    return text(this.#symbols.sl_abi_describe());
  }

  /** "cpu" or "cuda", compiler, build flags. */
  buildInfo(): string {
    return text(this.#symbols.sl_build_info());
  }

  #check(status: number): number {
    if (status < 0) throw new BackendError(status, text(this.#symbols.sl_last_error()));
    return status;
  }
}

/** Address of a view's bytes, for storing in structs: keep the view reachable for as long as the address is used. */
export function addressOf(view: ArrayBufferView): number {
  return view.byteLength === 0 ? 0 : (ptr(view as NodeJS.TypedArray) as number);
}

function address(value: NativeHandle | ArrayBufferView): Pointer {
  return (typeof value === "number" ? value : ptr(value as NodeJS.TypedArray)) as Pointer;
}

function text(pointer: Pointer | bigint | null): string {
  return pointer === null ? "" : new CString(Number(pointer) as Pointer).toString();
}

/**
 * memfd_create(2): an anonymous file in memory, so that a library can be opened without a writable folder. Returns its
 * descriptor. Throws BackendError where the system has or allows none.
 */
export function createMemoryFile(name: string): number {
  const nameBytes = Buffer.from(`${name}\0`);
  const closeOnExec = 1;
  try {
    const libc = dlopen("libc.so.6", { memfd_create: { args: ["ptr", "u32"], returns: "i32" } });
    const fd = libc.symbols.memfd_create(ptr(nameBytes), closeOnExec);
    if (fd >= 0) return fd;
  } catch (error) {
    throw new BackendError(STATUS.unsupported, `memfd_create cannot be called: ${(error as Error).message}`);
  }
  throw new BackendError(STATUS.unsupported, "The system refuses to make a file in memory (memfd_create)");
}
