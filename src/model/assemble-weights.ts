import { type ExpectedWeight, expectedWeights } from "./expected-weights.ts";
import type { ModelConfig } from "./model-config.ts";
import { ModelError } from "./model-error.ts";
import { WEIGHT_DTYPES, type WeightDtype, type WeightScale, type WeightTensor } from "./spec.ts";
import type { StoredTensor, StoredTensors } from "./stored-tensor.ts";

/** How a checkpoint format names and stores the weights of the forward pass. */
export interface WeightNaming {
  /** The file to name in errors about missing tensors. */
  readonly file: string;
  /** The tensor's name, for errors about a missing one; the first is tried first. */
  names(weight: ExpectedWeight): readonly string[];
  /** How many equal slices a tensor of this name is stacked from, outermost; undefined: not stacked. */
  stacked(name: string): number | undefined;
  /** Heads whose rotary pairs are interleaved in this weight, or 0. */
  ropeHeads(weight: ExpectedWeight): number;
  /** The scale that goes with a tensor; marks what it uses as used. */
  scale(tensor: StoredTensor, weight: ExpectedWeight, used: Set<string>): WeightScale | undefined;
  /** True for a leftover tensor that cannot change the result. */
  ignorable(name: string): boolean;
}

/**
 * Finds every weight that the configuration calls for, with its place and checked shape. Throws ModelError for one that
 * is missing, has another shape or a type that weights cannot have, and for tensors that nothing would use: running
 * without them would give wrong results without a word.
 */
export function assembleWeights(config: ModelConfig, stored: StoredTensors, naming: WeightNaming): WeightTensor[] {
  const used = new Set<string>();
  const weights: WeightTensor[] = [];
  for (const expected of expectedWeights(config)) {
    const names = naming.names(expected);
    const tensor = names.map((name) => stored.byName.get(name)).find((found) => found !== undefined);
    if (tensor === undefined) {
      throw new ModelError(naming.file, names[0], `is missing; ${config.architecture.name} needs it`);
    }
    used.add(tensor.name);
    const path = stored.paths[tensor.file]!;
    const slices = naming.stacked(tensor.name);
    checkShape(path, tensor, slices === undefined ? expected.shape : [slices, ...expected.shape]);
    const numBytes = tensor.numBytes / (slices ?? 1);
    weights.push({
      role: expected.role,
      layer: expected.layer,
      expert: expected.expert,
      dtype: weightDtype(path, tensor),
      rows: expected.shape.length === 2 ? expected.shape[0] : 1,
      cols: expected.shape[expected.shape.length - 1]!,
      offset: tensor.offset + (slices === undefined ? 0 : expected.expert * numBytes),
      numBytes,
      file: tensor.file,
      ropeHeads: naming.ropeHeads(expected),
      scale: naming.scale(tensor, expected, used),
    });
  }
  for (const [name, tensor] of stored.byName) {
    if (used.has(name) || naming.ignorable(name)) continue;
    throw new ModelError(
      stored.paths[tensor.file]!,
      name,
      `is not part of ${config.architecture.name} as configured (${config.numLayers} layers); running without it would be wrong`,
    );
  }
  return weights;
}

function checkShape(path: string, tensor: StoredTensor, expected: readonly number[]): void {
  const same = tensor.shape.length === expected.length && tensor.shape.every((size, i) => size === expected[i]);
  if (same) return;
  throw new ModelError(
    path,
    tensor.name,
    `has the shape [${tensor.shape.join(", ")}], but the configuration implies [${expected.join(", ")}]`,
  );
}

function weightDtype(path: string, tensor: StoredTensor): WeightDtype {
  const dtype = WEIGHT_DTYPES.find((name) => name === tensor.dtype);
  if (dtype !== undefined) return dtype;
  const supported = WEIGHT_DTYPES.map((name) => name.toUpperCase()).join(", ");
  throw new ModelError(path, tensor.name, `has the type ${tensor.dtype.toUpperCase()}; supported are ${supported}`);
}
