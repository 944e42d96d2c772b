import type { FileSource } from "../file-source.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { ModelError } from "../model-error.ts";
import type { StoredTensor } from "../stored-tensor.ts";

/** Bytes of each dtype's element; names of the format's specification. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
  C64: 8,
};
const MAX_DIMENSIONS = 8;

/**
 * Reads the header of a safetensors file: a u64 length, JSON, data. Offsets are checked against the file, sizes against
 * shapes, and the tensors must cover the data without holes or overlaps, as the format requires.
 * `file` is the index that the tensors get. Throws ModelError.
 * Format: https://huggingface.co/docs/safetensors
 */
export function readSafetensors(source: FileSource, file: number): StoredTensor[] {
  const headerBytes = source.read(0, 8, "header length").readBigUInt64LE();
  if (headerBytes > MODEL_BOUNDS.maxSafetensorsHeaderBytes) {
    throw new ModelError(
      source.path,
      "header length",
      `is ${headerBytes}, more than ${MODEL_BOUNDS.maxSafetensorsHeaderBytes}; this is not a safetensors file`,
    );
  }
  const dataStart = 8 + Number(headerBytes);
  const entries = parseHeader(source, source.read(8, Number(headerBytes), "header"));
  const dataBytes = source.length - dataStart;
  const tensors = entries.map(([name, entry]) => {
    const { dtype, shape, begin, end } = checkEntry(source.path, name, entry, dataBytes);
    const offset = source.baseOffset + dataStart + begin;
    return { name, shape, dtype: dtype.toLowerCase(), file, offset, numBytes: end - begin };
  });
  checkCoverage(source, tensors, source.baseOffset + dataStart, dataBytes);
  return tensors;
}

function parseHeader(source: FileSource, bytes: Buffer): [string, unknown][] {
  let header: unknown;
  try {
    header = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new ModelError(source.path, "header", "is not JSON; the file is broken or not safetensors", error);
  }
  if (header === null || typeof header !== "object" || Array.isArray(header)) {
    throw new ModelError(source.path, "header", "is not a JSON object");
  }
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__");
  if (entries.length > MODEL_BOUNDS.maxTensors) {
    throw new ModelError(
      source.path,
      "header",
      `lists ${entries.length} tensors, more than ${MODEL_BOUNDS.maxTensors}`,
    );
  }
  return entries;
}

function checkEntry(path: string, name: string, entry: unknown, dataBytes: number) {
  const error = (problem: string) => new ModelError(path, name, problem);
  if (Buffer.byteLength(name) > MODEL_BOUNDS.maxNameBytes) throw error("has too long a name");
  if (entry === null || typeof entry !== "object") throw error("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const elementBytes = typeof dtype === "string" && Object.hasOwn(DTYPE_BYTES, dtype) ? DTYPE_BYTES[dtype] : undefined;
  if (elementBytes === undefined) throw error(`has the unknown dtype ${JSON.stringify(dtype)}`);
  if (!isCounts(shape) || shape.length > MAX_DIMENSIONS) throw error("has no valid shape");
  if (!isCounts(offsets) || offsets.length !== 2) throw error("has no valid data_offsets");
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    throw error(`lies at ${begin} to ${end} of ${dataBytes} bytes of data: the file is cut short or broken`);
  }
  const numBytes = shape.reduce((product, size) => product * size, elementBytes);
  if (numBytes !== end - begin) {
    throw error(`has ${end - begin} bytes, but ${dtype} of shape [${shape.join(", ")}] takes ${numBytes}`);
  }
  return { dtype: dtype as string, shape, begin, end };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function checkCoverage(source: FileSource, tensors: readonly StoredTensor[], start: number, dataBytes: number): void {
  let end = start;
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset || a.numBytes - b.numBytes)) {
    if (tensor.offset !== end) {
      const what = tensor.offset < end ? "overlaps another tensor" : "follows a hole in the data";
      throw new ModelError(source.path, tensor.name, what);
    }
    end += tensor.numBytes;
  }
  if (end !== start + dataBytes) {
    throw new ModelError(source.path, undefined, `has ${start + dataBytes - end} bytes after its last tensor`);
  }
}
