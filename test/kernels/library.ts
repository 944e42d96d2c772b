// The CPU library as the kernel tests see it: entry points over typed arrays, constants of scalellm.h.
import { CString, dlopen, FFIType, ptr } from "bun:ffi";

const path = new URL("../../build/libscalellm_cpu.so", import.meta.url).pathname;

const { symbols } = dlopen(path, {
  sl_last_error: { args: [], returns: FFIType.ptr },
  sl_probe: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i32 },
  sl_op_linear: { args: [FFIType.ptr], returns: FFIType.i32 },
  sl_op_dequantize: { args: [FFIType.i32, FFIType.ptr, FFIType.i64, FFIType.ptr], returns: FFIType.i32 },
  sl_measure_limits: { args: [FFIType.i32, FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
});

export const Dtype = {
  F32: 0,
  F16: 1,
  BF16: 2,
  F8_E4M3: 3,
  Q8_0: 4,
  Q4_0: 5,
  Q4_1: 6,
  Q5_0: 7,
  Q5_1: 8,
  Q4_K: 9,
  Q5_K: 10,
  Q6_K: 11,
} as const;
export const Weights = { AUTO: 0, F32: 1, BF16: 2, INT8: 3 } as const;
export const Isa = { portable: 1, avx2: 2, avx512: 3, neon: 4 } as const;
export type IsaName = keyof typeof Isa;

function check(status: number): void {
  if (status < 0) throw new Error(`${new CString(symbols.sl_last_error()!)} (${status})`);
}

/** The instruction sets this machine can run, slowest first. */
export function availableIsas(): IsaName[] {
  const info = new Uint8Array(2048);
  check(symbols.sl_probe(ptr(new Uint8Array(1)), ptr(info)));
  const best = new Int32Array(info.buffer, 0, 1)[0]!;
  if (best === Isa.neon) return ["portable", "neon"];
  return (["portable", "avx2", "avx512"] as const).filter((name) => Isa[name] <= best);
}

export interface LinearArgs {
  isa: IsaName;
  dtype: number;
  weightFormat: number;
  tokens: number;
  rows: number;
  cols: number;
  /** [rows, cols] in dtype */
  w: Uint8Array;
  /** [tokens, cols] */
  x: Float32Array;
  threads?: number;
}

/** y = x w^T, [tokens, rows]. */
export function linear(args: LinearArgs): Float32Array {
  const y = new Float32Array(args.tokens * args.rows).fill(Number.NaN);
  const words = new BigInt64Array(8);
  new Int32Array(words.buffer).set([Isa[args.isa], args.threads ?? 1, args.dtype, args.weightFormat]);
  words.set([args.tokens, args.rows, args.cols, ptr(args.w), ptr(args.x), ptr(y)].map(BigInt), 2);
  check(symbols.sl_op_linear(ptr(words)));
  return y;
}

export function dequantize(dtype: number, src: Uint8Array, numValues: number): Float32Array {
  const out = new Float32Array(numValues);
  check(symbols.sl_op_dequantize(dtype, ptr(src), numValues, ptr(out)));
  return out;
}

export function measureLimits(isa: IsaName, threads: number): { readBytes: number; int8Macs: number; f32Macs: number } {
  const out = new Float64Array(3);
  check(symbols.sl_measure_limits(Isa[isa], threads, ptr(out)));
  return { readBytes: out[0]!, int8Macs: out[1]!, f32Macs: out[2]! };
}
