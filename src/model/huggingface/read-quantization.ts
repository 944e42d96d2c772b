import type { JsonFields } from "../json-fields.ts";

/** How a checkpoint's fp8 weights are scaled. Only that: other quantisations are refused. */
export interface Fp8Config {
  /** [rows, cols] of the blocks that share a scale; undefined: a scale a matrix or a row, told apart by its shape. */
  readonly block: readonly [number, number] | undefined;
}

const SUPPORTED = "fp8 (per tensor or in blocks), fbgemm_fp8 and compressed-tensors float-quantized";
/** Blocks in use are 128 x 128. */
const MAX_BLOCK = 4096;

/** Reads quantization_config; undefined when the checkpoint is not quantised. Throws ModelError. */
export function readQuantization(config: JsonFields): Fp8Config | undefined {
  const fields = config.object("quantization_config") ?? config.object("compression_config");
  if (fields === undefined) return undefined;
  const method = fields.string("quant_method");
  switch (method) {
    case "fp8": {
      const format = fields.string("fmt") ?? "e4m3";
      if (format !== "e4m3") throw fields.error("fmt", `is ${format}; only e4m3 is supported`);
      return { block: readBlock(fields, "weight_block_size") };
    }
    case "fbgemm_fp8":
      return { block: undefined };
    case "compressed-tensors":
      return readCompressedTensors(fields);
    default:
      throw fields.error("quant_method", `is ${method ?? "missing"}; supported are ${SUPPORTED}`);
  }
}

function readCompressedTensors(fields: JsonFields): Fp8Config {
  const format = fields.string("format");
  if (format !== "float-quantized" && format !== "naive-quantized") {
    throw fields.error("format", `is ${format ?? "missing"}; supported are ${SUPPORTED}`);
  }
  const sparsity = fields.object("sparsity_config")?.string("format") ?? "dense";
  if (sparsity !== "dense")
    throw fields.error("sparsity_config.format", `is ${sparsity}; sparse weights are not supported`);
  const groups = fields.object("config_groups");
  let block: Fp8Config["block"];
  for (const name of groups?.keys() ?? []) {
    const weights = groups!.object(name)?.object("weights");
    if (weights === undefined) continue;
    const is8BitFloat = weights.int("num_bits", 1, 64) === 8 && weights.string("type") === "float";
    if (!is8BitFloat) throw weights.error("num_bits", `and type are not an 8-bit float; supported are ${SUPPORTED}`);
    if (!(weights.bool("symmetric") ?? true))
      throw weights.error("symmetric", "is false: zero points are not supported");
    const strategy = weights.string("strategy") ?? "tensor";
    if (strategy === "block") block = readBlock(weights, "block_structure");
    else if (strategy !== "tensor" && strategy !== "channel") {
      throw weights.error("strategy", `is ${strategy}; supported are tensor, channel, block`);
    }
  }
  return { block };
}

function readBlock(fields: JsonFields, name: string): readonly [number, number] | undefined {
  const sizes = fields.list(name);
  if (sizes === undefined) return undefined;
  const [rows, cols] = sizes;
  const valid = (size: unknown): size is number =>
    Number.isInteger(size) && (size as number) > 0 && (size as number) <= MAX_BLOCK;
  if (sizes.length !== 2 || !valid(rows) || !valid(cols)) {
    throw fields.error(name, `is not two whole numbers from 1 to ${MAX_BLOCK}`);
  }
  return [rows, cols];
}
