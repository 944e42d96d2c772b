import type { WeightTensor } from "./spec.ts";

/** Bytes of the weights in their files, scales included. */
export function weightBytes(tensors: readonly WeightTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensor.numBytes + (tensor.scale?.numBytes ?? 0), 0);
}

/** The type that most bytes of a layer's matrices have: "Q4_1", "BF16", "F8_E4M3". */
export function describeQuantization(tensors: readonly WeightTensor[]): string {
  const bytes = new Map<string, number>();
  for (const { dtype, layer, rows, numBytes } of tensors) {
    if (layer >= 0 && rows > 1) bytes.set(dtype, (bytes.get(dtype) ?? 0) + numBytes);
  }
  const [largest] = [...bytes].sort((a, b) => b[1] - a[1]);
  return (largest?.[0] ?? "F32").toUpperCase();
}
