import { ByteReader } from "../byte-reader.ts";
import type { FileSource } from "../file-source.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { ModelError } from "../model-error.ts";
import type { StoredTensor } from "../stored-tensor.ts";
import { GGML_TYPES, type GgmlType, ggmlTypeName, SUPPORTED_GGML_TYPES } from "./ggml-types.ts";
import { Metadata } from "./metadata.ts";
import { readMetadata } from "./read-metadata.ts";

/** "GGUF" as a little-endian u32. */
const MAGIC = 0x46554747;
const DEFAULT_ALIGNMENT = 32;
/** Alignments in use are 32 to 4096; more would let a header claim a gap of any size. */
const MAX_ALIGNMENT = 1024 * 1024;
const MAX_DIMENSIONS = 4;

export interface GgufHeader {
  readonly metadata: Metadata;
  readonly tensors: readonly StoredTensor[];
}

export function isGguf(source: FileSource): boolean {
  return source.length >= 4 && source.read(0, 4).readUInt32LE() === MAGIC;
}

/**
 * Reads the header of a GGUF v2 or v3 file, little-endian: metadata and where the tensors lie. Weights are not read.
 * `file` is the index that the tensors get. Throws ModelError.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function readGguf(source: FileSource, file: number): GgufHeader {
  const reader = new ByteReader(source, MODEL_BOUNDS.maxGgufHeaderBytes);
  reader.field = "header";
  if (reader.u32() !== MAGIC) throw reader.error("is not a GGUF file");
  const version = reader.u32();
  if (version !== 2 && version !== 3) {
    const swapped = version === 0x02000000 || version === 0x03000000;
    throw reader.error(
      swapped
        ? "is big-endian; only little-endian GGUF is supported"
        : `is GGUF version ${version}; 2 and 3 are supported`,
    );
  }
  const numTensors = reader.count("the number of tensors", MODEL_BOUNDS.maxTensors);
  const numKeys = reader.count("the number of metadata keys", MODEL_BOUNDS.maxMetadataKeys);
  const metadata = new Metadata(source.path, readMetadata(reader, numKeys));

  const alignment = metadata.int("general.alignment", 1, MAX_ALIGNMENT) ?? DEFAULT_ALIGNMENT;
  if ((alignment & (alignment - 1)) !== 0) throw metadata.error("general.alignment", "is not a power of two");

  const tensors: (StoredTensor & { relativeOffset: number })[] = [];
  const names = new Set<string>();
  for (let i = 0; i < numTensors; i++) {
    reader.field = `tensor ${i + 1} of ${numTensors}`;
    const name = reader.string(MODEL_BOUNDS.maxNameBytes);
    if (name === "") throw reader.error("has an empty name");
    reader.field = name;
    if (names.has(name)) throw reader.error("is listed twice");
    names.add(name);
    tensors.push({ name, file, ...readTensorInfo(reader, alignment) });
  }
  reader.field = undefined;

  const dataStart = Math.ceil(reader.offset / alignment) * alignment;
  checkPlacement(source, dataStart, tensors);
  return {
    metadata,
    tensors: tensors.map(({ relativeOffset, ...tensor }) => ({
      ...tensor,
      offset: source.baseOffset + dataStart + relativeOffset,
    })),
  };
}

function readTensorInfo(reader: ByteReader, alignment: number) {
  const numDimensions = reader.u32();
  if (numDimensions < 1 || numDimensions > MAX_DIMENSIONS) {
    throw reader.error(`has ${numDimensions} dimensions; 1 to ${MAX_DIMENSIONS} are allowed`);
  }
  // The file lists the contiguous dimension first.
  const shape: number[] = [];
  for (let d = 0; d < numDimensions; d++) shape.unshift(reader.count("a dimension", Number.MAX_SAFE_INTEGER));
  const typeNumber = reader.u32();
  const relativeOffset = reader.count("the offset", Number.MAX_SAFE_INTEGER);
  const type = GGML_TYPES.get(typeNumber);
  if (type === undefined) {
    throw reader.error(`has the type ${ggmlTypeName(typeNumber)}; supported are ${SUPPORTED_GGML_TYPES}`);
  }
  if (relativeOffset % alignment !== 0)
    throw reader.error(`offset ${relativeOffset} is not a multiple of ${alignment}`);
  return { shape, dtype: type.dtype, numBytes: sizeInBytes(reader, shape, type), relativeOffset, offset: 0 };
}

function sizeInBytes(reader: ByteReader, shape: readonly number[], type: GgmlType): number {
  const columns = shape[shape.length - 1]!;
  if (columns % type.blockSize !== 0) {
    throw reader.error(`has rows of ${columns}, not a multiple of ${type.dtype.toUpperCase()}'s ${type.blockSize}`);
  }
  const numBytes = (shape.reduce((product, size) => product * size, 1) / type.blockSize) * type.blockBytes;
  if (shape.some((size) => size === 0) || !Number.isSafeInteger(numBytes)) {
    throw reader.error(`has the impossible shape [${shape.join(", ")}]`);
  }
  return numBytes;
}

/** Every tensor lies inside the file, and no two overlap. */
function checkPlacement(
  source: FileSource,
  dataStart: number,
  tensors: readonly (StoredTensor & { relativeOffset: number })[],
): void {
  const sorted = [...tensors].sort((a, b) => a.relativeOffset - b.relativeOffset);
  let end = 0;
  for (const { name, relativeOffset, numBytes } of sorted) {
    if (relativeOffset < end) throw new ModelError(source.path, name, "overlaps another tensor");
    end = relativeOffset + numBytes;
    if (dataStart + end > source.length) {
      throw new ModelError(
        source.path,
        name,
        `ends at byte ${dataStart + end} of a file of ${source.length}: the file is cut short or broken`,
      );
    }
  }
}
