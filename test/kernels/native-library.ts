/**
 * The native library for kernel tests: every symbol of kernels/include/scalellm.h over bun:ffi, and structs packed by the
 * offsets that the library itself reports, so that these tests share no layout code with src/backend.
 */
import { dlopen, FFIType, type Pointer, ptr } from "bun:ffi";
import { join } from "node:path";

const { i32, i64, cstring, ptr: pointer, void: nothing } = FFIType;

const one = { args: [pointer], returns: i32 } as const;

export const { symbols: sl } = dlopen(join(import.meta.dir, "../../build/libscalellm_cpu.so"), {
  sl_last_error: { args: [], returns: cstring },
  sl_model_load: { args: [pointer, pointer], returns: i32 },
  sl_model_get_info: { args: [pointer, pointer], returns: i32 },
  sl_model_free: { args: [pointer], returns: nothing },
  sl_engine_create: { args: [pointer, pointer, pointer], returns: i32 },
  sl_engine_get_info: { args: [pointer, pointer], returns: i32 },
  sl_engine_reset: one,
  sl_engine_touch: { args: [pointer, i32, i64, i64], returns: i64 },
  sl_engine_release: { args: [pointer, i32, i32], returns: i64 },
  sl_engine_free: { args: [pointer], returns: nothing },
  sl_kv_block_bytes: { args: [pointer, i32, i32], returns: i64 },
  sl_engine_slot_set: { args: [pointer, i32, pointer], returns: i32 },
  sl_engine_submit: { args: [pointer, pointer, i64], returns: i64 },
  sl_engine_wait: { args: [pointer, i64, pointer, i64], returns: i32 },
  sl_engine_logits: { args: [pointer, pointer, i64], returns: i32 },
  sl_engine_profile: { args: [pointer, i32, pointer], returns: i32 },
  sl_probe: { args: [pointer, pointer], returns: i32 },
  sl_measure_limits: { args: [i32, i32, pointer], returns: i32 },
  sl_op_linear: one,
  sl_op_dequantize: { args: [i32, pointer, i64, pointer], returns: i32 },
  sl_op_rms_norm: one,
  sl_op_rope: one,
  sl_op_attention: one,
  sl_op_silu_mul: one,
  sl_op_sample: one,
  sl_abi_describe: { args: [], returns: cstring },
  sl_build_info: { args: [], returns: cstring },
});

interface StructLayout {
  size: number;
  fields: Record<string, [offset: number, size: number]>;
}

export const abi = JSON.parse(String(sl.sl_abi_describe())) as {
  version: number;
  structs: Record<string, StructLayout>;
};

type Scalar = number | bigint | NodeJS.TypedArray | null;

/** Floating point fields of the structs; the rest are integers or pointers. */
const FLOATS = new Set([
  "rms_norm_eps",
  "rope_attention_factor",
  "temperature",
  "top_p",
  "min_p",
  "repetition_penalty",
  "frequency_penalty",
  "presence_penalty",
  "eps",
  "attention_factor",
]);

/** A struct in memory. Buffers given as values are kept alive with it. */
export class Struct {
  readonly bytes: Uint8Array;
  readonly #layout: StructLayout;
  readonly #view: DataView;
  readonly #kept: NodeJS.TypedArray[] = [];

  constructor(name: string, values: Record<string, Scalar> = {}, bytes?: Uint8Array) {
    const layout = abi.structs[name];
    if (!layout) throw new Error(`no struct ${name}`);
    this.#layout = layout;
    this.bytes = bytes ?? new Uint8Array(layout.size);
    this.#view = new DataView(this.bytes.buffer, this.bytes.byteOffset, layout.size);
    if (layout.fields.struct_bytes) this.set("struct_bytes", layout.size);
    for (const [field, value] of Object.entries(values)) this.set(field, value);
  }

  #field(name: string): [offset: number, size: number] {
    const field = this.#layout.fields[name];
    if (!field) throw new Error(`no field ${name}`);
    return field;
  }

  set(name: string, value: Scalar): void {
    const [offset, size] = this.#field(name);
    if (ArrayBuffer.isView(value)) {
      this.#kept.push(value);
      this.#view.setBigUint64(offset, value.byteLength > 0 ? BigInt(ptr(value)) : 0n, true);
    } else if (FLOATS.has(name)) {
      this.#view.setFloat32(offset, Number(value), true);
    } else if (size === 8) {
      this.#view.setBigInt64(offset, BigInt.asIntN(64, BigInt(value ?? 0)), true);
    } else {
      this.#view.setInt32(offset, Number(value), true);
    }
  }

  get(name: string): number {
    const [offset, size] = this.#field(name);
    if (FLOATS.has(name)) return this.#view.getFloat32(offset, true);
    return size === 8 ? Number(this.#view.getBigInt64(offset, true)) : this.#view.getInt32(offset, true);
  }
}

export const STATUS = { ok: 0, argument: -1, memory: -2, io: -3, unsupported: -4, device: -5, state: -6 } as const;

export class StatusError extends Error {
  readonly status: number;
  constructor(status: number) {
    super(String(sl.sl_last_error()));
    this.status = status;
  }
}

/** Throws the library's message unless the status is a success. */
export function check(status: number | bigint): number {
  const value = Number(status);
  if (value < 0) throw new StatusError(value);
  return value;
}

/** Calls a function that writes one handle. */
export function handleOf(create: (out: BigUint64Array) => number): Pointer {
  const out = new BigUint64Array(1);
  check(create(out));
  return Number(out[0]) as Pointer;
}

export function probe(): { bestIsa: number; features: number; numCores: number } {
  const info = new Struct("sl_probe_info");
  check(sl.sl_probe(cString(""), info.bytes));
  return { bestIsa: info.get("best_isa"), features: info.get("features"), numCores: info.get("num_cores") };
}

export const ISA_NAMES = ["auto", "portable", "avx2", "avx512", "neon", "amx"] as const;

/** Instruction sets that this machine runs, by SL_ISA_*. */
export function availableIsas(): number[] {
  const empty = new Float32Array(16);
  return [1, 2, 3, 4, 5].filter((isa) => {
    const args = new Struct("sl_op_silu_mul_args", { isa, tokens: 1, cols: 1, gate: empty, up: empty, y: empty });
    return sl.sl_op_silu_mul(args.bytes) === STATUS.ok;
  });
}

export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
