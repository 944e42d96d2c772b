import type { WeightDtype } from "../spec.ts";

/** A ggml storage type: `blockBytes` bytes hold `blockSize` values of one row. */
export interface GgmlType {
  readonly dtype: WeightDtype;
  readonly blockSize: number;
  readonly blockBytes: number;
}

/** The types that the kernels read, by their number in a GGUF file (the enum ggml_type of the GGUF specification). */
export const GGML_TYPES: ReadonlyMap<number, GgmlType> = new Map<number, GgmlType>([
  [0, { dtype: "f32", blockSize: 1, blockBytes: 4 }],
  [1, { dtype: "f16", blockSize: 1, blockBytes: 2 }],
  [2, { dtype: "q4_0", blockSize: 32, blockBytes: 18 }],
  [3, { dtype: "q4_1", blockSize: 32, blockBytes: 20 }],
  [6, { dtype: "q5_0", blockSize: 32, blockBytes: 22 }],
  [7, { dtype: "q5_1", blockSize: 32, blockBytes: 24 }],
  [8, { dtype: "q8_0", blockSize: 32, blockBytes: 34 }],
  [12, { dtype: "q4_k", blockSize: 256, blockBytes: 144 }],
  [13, { dtype: "q5_k", blockSize: 256, blockBytes: 176 }],
  [14, { dtype: "q6_k", blockSize: 256, blockBytes: 210 }],
  [30, { dtype: "bf16", blockSize: 1, blockBytes: 2 }],
]);

/** Names of types that exist but are not read, so that an error can say which one it met. */
const OTHER_TYPES: ReadonlyMap<number, string> = new Map([
  [9, "Q8_1"],
  [10, "Q2_K"],
  [11, "Q3_K"],
  [15, "Q8_K"],
  [16, "IQ2_XXS"],
  [17, "IQ2_XS"],
  [18, "IQ3_XXS"],
  [19, "IQ1_S"],
  [20, "IQ4_NL"],
  [21, "IQ3_S"],
  [22, "IQ2_S"],
  [23, "IQ4_XS"],
  [24, "I8"],
  [25, "I16"],
  [26, "I32"],
  [27, "I64"],
  [28, "F64"],
  [29, "IQ1_M"],
  [34, "TQ1_0"],
  [35, "TQ2_0"],
  [39, "MXFP4"],
]);

/** For errors: "Q3_K", or the number of a type this list does not know. */
export function ggmlTypeName(type: number): string {
  return GGML_TYPES.get(type)?.dtype.toUpperCase() ?? OTHER_TYPES.get(type) ?? `number ${type}`;
}

export const SUPPORTED_GGML_TYPES = [...GGML_TYPES.values()].map((type) => type.dtype.toUpperCase()).join(", ");
