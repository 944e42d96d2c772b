import type { ByteReader } from "../byte-reader.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import type { MetadataValue } from "./metadata.ts";

/** Value types of the GGUF specification. */
const TYPE = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

/** Least bytes an element takes in the file, to check a count before anything is allocated for it. */
const MIN_BYTES: Readonly<Record<number, number>> = {
  [TYPE.u8]: 1,
  [TYPE.i8]: 1,
  [TYPE.u16]: 2,
  [TYPE.i16]: 2,
  [TYPE.u32]: 4,
  [TYPE.i32]: 4,
  [TYPE.f32]: 4,
  [TYPE.bool]: 1,
  [TYPE.string]: 8,
  [TYPE.u64]: 8,
  [TYPE.i64]: 8,
  [TYPE.f64]: 8,
};

/** Reads `count` key-value pairs. Throws ModelError on what the bounds or the file's size do not allow. */
export function readMetadata(reader: ByteReader, count: number): Map<string, MetadataValue> {
  const values = new Map<string, MetadataValue>();
  const budget = { elements: MODEL_BOUNDS.maxTotalArrayElements };
  for (let i = 0; i < count; i++) {
    reader.field = `metadata key ${i + 1} of ${count}`;
    const key = reader.string(MODEL_BOUNDS.maxNameBytes);
    if (key === "") throw reader.error("is empty");
    reader.field = key;
    if (values.has(key)) throw reader.error("occurs twice");
    values.set(key, readValue(reader, reader.u32(), budget));
  }
  reader.field = undefined;
  return values;
}

function readValue(reader: ByteReader, type: number, budget: { elements: number }): MetadataValue {
  switch (type) {
    case TYPE.u64:
    case TYPE.i64: {
      const value = type === TYPE.u64 ? reader.u64() : reader.i64();
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value;
    }
    case TYPE.bool:
      return readBool(reader);
    case TYPE.string:
      return reader.string(MODEL_BOUNDS.maxStringBytes);
    case TYPE.array:
      return readArray(reader, budget);
    default:
      return readNumber(reader, type);
  }
}

function readNumber(reader: ByteReader, type: number): number {
  switch (type) {
    case TYPE.u8:
      return reader.u8();
    case TYPE.i8:
      return reader.i8();
    case TYPE.u16:
      return reader.u16();
    case TYPE.i16:
      return reader.i16();
    case TYPE.u32:
      return reader.u32();
    case TYPE.i32:
      return reader.i32();
    case TYPE.f32:
      return reader.f32();
    case TYPE.f64:
      return reader.f64();
    case TYPE.bool:
      return readBool(reader) ? 1 : 0;
    case TYPE.u64:
      return Number(reader.u64());
    case TYPE.i64:
      return Number(reader.i64());
    default:
      throw reader.error(`has the unknown value type ${type}`);
  }
}

function readBool(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw reader.error(`is a boolean of ${value}; only 0 and 1 are allowed`);
  return value === 1;
}

function readArray(reader: ByteReader, budget: { elements: number }): MetadataValue {
  const type = reader.u32();
  const elementBytes = MIN_BYTES[type];
  if (elementBytes === undefined) {
    throw reader.error(
      type === TYPE.array ? "nests arrays, which is not supported" : `has the unknown element type ${type}`,
    );
  }
  const length = reader.count("the array's length", MODEL_BOUNDS.maxArrayElements);
  if (length * elementBytes > reader.remaining) {
    throw reader.error(`the file ends early: an array of ${length} elements, ${reader.remaining} bytes left`);
  }
  budget.elements -= length;
  if (budget.elements < 0) {
    throw reader.error(`the arrays hold more than ${MODEL_BOUNDS.maxTotalArrayElements} elements together`);
  }
  if (type === TYPE.string) {
    const strings = new Array<string>(length);
    for (let i = 0; i < length; i++) strings[i] = reader.string(MODEL_BOUNDS.maxStringBytes);
    return strings;
  }
  const numbers = numberArray(type, length);
  for (let i = 0; i < length; i++) numbers[i] = readNumber(reader, type);
  return numbers;
}

function numberArray(type: number, length: number): Int32Array | Float32Array | Float64Array {
  if (type === TYPE.f32) return new Float32Array(length);
  const wide = type === TYPE.u32 || type === TYPE.u64 || type === TYPE.i64 || type === TYPE.f64;
  return wide ? new Float64Array(length) : new Int32Array(length);
}
