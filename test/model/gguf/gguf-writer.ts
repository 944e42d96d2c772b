import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";

/** Writes GGUF files for tests, valid or, through `raw`, broken at will. Layout: the GGUF specification. */
export type GgufValue =
  | { u32: number }
  | { u64: bigint }
  | { i32: number }
  | { f32: number }
  | { bool: boolean }
  | { string: string }
  | { strings: readonly string[] }
  | { i32s: readonly number[] }
  | { f32s: readonly number[] }
  | { raw: Buffer };

export interface GgufTensorSpec {
  name: string;
  /** Outermost first, as the reader reports. */
  shape: readonly number[];
  /** ggml type number. */
  type: number;
  numBytes: number;
  /** Overrides the place after the tensor before. */
  offset?: bigint;
  data?: Buffer;
  /** The same in pieces, made as they are written: for files that do not fit in memory. */
  pieces?: () => Iterable<Uint8Array>;
}

export interface GgufSpec {
  version?: number;
  metadata: Readonly<Record<string, GgufValue>>;
  tensors: readonly GgufTensorSpec[];
  numTensors?: bigint;
  numKeys?: bigint;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function array(type: number, items: readonly Buffer[]): Buffer {
  return Buffer.concat([u32(9), u32(type), u64(items.length), ...items]);
}

function encode(value: GgufValue): Buffer {
  if ("u32" in value) return Buffer.concat([u32(4), u32(value.u32)]);
  if ("u64" in value) return Buffer.concat([u32(10), u64(value.u64)]);
  if ("i32" in value) return Buffer.concat([u32(5), u32(value.i32 >>> 0)]);
  if ("f32" in value) return Buffer.concat([u32(6), f32(value.f32)]);
  if ("bool" in value) return Buffer.concat([u32(7), Buffer.from([value.bool ? 1 : 0])]);
  if ("string" in value) return Buffer.concat([u32(8), text(value.string)]);
  if ("strings" in value) return array(8, value.strings.map(text));
  if ("i32s" in value)
    return array(
      5,
      value.i32s.map((item) => u32(item >>> 0)),
    );
  if ("f32s" in value) return array(6, value.f32s.map(f32));
  return value.raw;
}

interface GgufLayout {
  readonly header: Buffer;
  /** Bytes of the whole file. */
  readonly numBytes: number;
  readonly places: ReadonlyArray<{ readonly at: number; readonly tensor: GgufTensorSpec }>;
}

function layOut(spec: GgufSpec): GgufLayout {
  const alignmentValue = spec.metadata["general.alignment"];
  const alignment = alignmentValue !== undefined && "u32" in alignmentValue ? alignmentValue.u32 || 32 : 32;
  const keys = Object.entries(spec.metadata);
  const parts: Buffer[] = [
    Buffer.from("GGUF"),
    u32(spec.version ?? 3),
    u64(spec.numTensors ?? spec.tensors.length),
    u64(spec.numKeys ?? keys.length),
    ...keys.flatMap(([key, value]) => [text(key), encode(value)]),
  ];
  let end = 0;
  const places: { at: number; tensor: GgufTensorSpec }[] = [];
  for (const tensor of spec.tensors) {
    const at = Math.ceil(end / alignment) * alignment;
    end = at + tensor.numBytes;
    places.push({ at, tensor });
    parts.push(text(tensor.name), u32(tensor.shape.length));
    for (const size of [...tensor.shape].reverse()) parts.push(u64(size));
    parts.push(u32(tensor.type), u64(tensor.offset ?? at));
  }
  const header = Buffer.concat(parts);
  const dataStart = end === 0 ? header.length : Math.ceil(header.length / alignment) * alignment;
  return {
    header,
    numBytes: dataStart + end,
    places: places.map(({ at, tensor }) => ({ at: dataStart + at, tensor })),
  };
}

/** The file, and how many of its bytes are header. */
export function writeGguf(spec: GgufSpec): { bytes: Buffer; headerBytes: number } {
  const { header, numBytes, places } = layOut(spec);
  const bytes = Buffer.alloc(numBytes);
  header.copy(bytes);
  for (const { at, tensor } of places) tensor.data?.copy(bytes, at);
  return { bytes, headerBytes: header.length };
}

/** Writes the file piece by piece; it may be larger than memory. What no piece fills is a hole of zeros. */
export function writeGgufFile(path: string, spec: GgufSpec): void {
  const { header, numBytes, places } = layOut(spec);
  const fd = openSync(path, "w");
  try {
    ftruncateSync(fd, numBytes);
    writeAll(fd, header, 0);
    for (const { at, tensor } of places) {
      let to = at;
      for (const piece of tensor.pieces?.() ?? (tensor.data ? [tensor.data] : [])) {
        writeAll(fd, piece, to);
        to += piece.length;
      }
    }
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}
