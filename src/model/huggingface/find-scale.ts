import type { ExpectedWeight } from "../expected-weights.ts";
import { ModelError } from "../model-error.ts";
import type { WeightScale } from "../spec.ts";
import type { StoredTensor, StoredTensors } from "../stored-tensor.ts";
import type { Fp8Config } from "./read-quantization.ts";

/**
 * The scale of an fp8 weight: X.weight_scale, or X.weight_scale_inv (DeepSeek's and Qwen's name; a multiplier all the
 * same). Its shape says whether it is one for the matrix, one a row or one a block. Throws ModelError where an fp8
 * weight has none, another weight has one, or the shape is none of these.
 */
export function findScale(
  stored: StoredTensors,
  weight: StoredTensor,
  { shape }: ExpectedWeight,
  fp8: Fp8Config | undefined,
  used: Set<string>,
): WeightScale | undefined {
  const names = [`${weight.name}_scale_inv`, `${weight.name}_scale`];
  const found = names.map((name) => stored.byName.get(name)).filter((tensor) => tensor !== undefined);
  const path = stored.paths[weight.file]!;
  if (weight.dtype !== "f8_e4m3") {
    if (found.length > 0) throw new ModelError(path, weight.name, `has a scale but is ${weight.dtype.toUpperCase()}`);
    return undefined;
  }
  const [scale] = found;
  if (scale === undefined) throw new ModelError(path, weight.name, `is F8_E4M3 without ${names[1]} or ${names[0]}`);
  if (found.length > 1) throw new ModelError(path, weight.name, `has both ${names[0]} and ${names[1]}`);
  if (shape.length !== 2) throw new ModelError(path, weight.name, "is F8_E4M3, which only matrices can be");
  const [rows, cols] = shape;
  const place = stored.paths[scale.file]!;
  if (scale.dtype !== "f32" && scale.dtype !== "bf16") {
    throw new ModelError(place, scale.name, `has the type ${scale.dtype.toUpperCase()}; supported are F32, BF16`);
  }
  used.add(scale.name);
  const common = { dtype: scale.dtype, offset: scale.offset, numBytes: scale.numBytes, file: scale.file } as const;
  const isShape = (...wanted: number[]) =>
    scale.shape.length === wanted.length && scale.shape.every((size, i) => size === wanted[i]);
  if (scale.shape.every((size) => size === 1)) return { kind: "tensor", ...common, blockRows: 0, blockCols: 0 };
  if (fp8?.block !== undefined) {
    const [blockRows, blockCols] = fp8.block;
    if (isShape(Math.ceil(rows / blockRows), Math.ceil(cols / blockCols))) {
      return { kind: "block", ...common, blockRows, blockCols };
    }
  }
  if (isShape(rows, 1) || isShape(rows)) return { kind: "row", ...common, blockRows: 0, blockCols: 0 };
  const blocks = fp8?.block === undefined ? "" : ` or one a block of ${fp8.block.join(" x ")}`;
  throw new ModelError(
    place,
    scale.name,
    `has the shape [${scale.shape.join(", ")}], which is not one scale, one a row${blocks} of [${rows}, ${cols}]`,
  );
}
