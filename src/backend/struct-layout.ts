/** C types of the ABI's structs; "ptr" is a 64-bit address. */
export type CType = "i32" | "u32" | "i64" | "u64" | "f32" | "f64" | "ptr" | "char";

export interface FieldLayout {
  readonly type: CType;
  readonly offset: number;
  /** Bytes, of all elements. */
  readonly size: number;
  /** Elements of an array; 1 for a scalar. */
  readonly length: number;
}

export interface StructLayout<Field extends string = string> {
  readonly size: number;
  readonly fields: Readonly<Record<Field, FieldLayout>>;
}

export type FieldSpec<Field extends string> = readonly [Field, CType] | readonly [Field, CType, number];

const TYPE_BYTES: Readonly<Record<CType, number>> = { i32: 4, u32: 4, i64: 8, u64: 8, f32: 4, f64: 8, ptr: 8, char: 1 };

/** Lays fields out as the System V ABI does for x86-64 and AArch64: each at a multiple of its type's size. */
export function structLayout<const Field extends string>(specs: readonly FieldSpec<Field>[]): StructLayout<Field> {
  const fields = {} as Record<Field, FieldLayout>;
  let end = 0;
  let alignment = 1;
  for (const [name, type, length = 1] of specs) {
    const bytes = TYPE_BYTES[type];
    const offset = Math.ceil(end / bytes) * bytes;
    fields[name] = { type, offset, size: bytes * length, length };
    end = offset + bytes * length;
    alignment = Math.max(alignment, bytes);
  }
  return { size: Math.ceil(end / alignment) * alignment, fields };
}

/** Writes every field of a struct; names that are left out are zero. */
export function writeStruct<Field extends string>(
  layout: StructLayout<Field>,
  view: DataView,
  base: number,
  values: Readonly<Partial<Record<Field, number | bigint>>>,
): void {
  for (const name in layout.fields) {
    const { type, offset } = layout.fields[name];
    const value = values[name] ?? 0;
    const at = base + offset;
    switch (type) {
      case "i32":
        view.setInt32(at, Number(value), true);
        break;
      case "u32":
        view.setUint32(at, Number(value), true);
        break;
      case "f32":
        view.setFloat32(at, Number(value), true);
        break;
      case "f64":
        view.setFloat64(at, Number(value), true);
        break;
      case "i64":
        view.setBigInt64(at, BigInt(value), true);
        break;
      case "u64":
      case "ptr":
        view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
        break;
      case "char":
        throw new TypeError(`${name} is text; the library writes it`);
    }
  }
}

/** Reads element `index` of a numeric field; 64-bit values as numbers (they count bytes and nanoseconds). */
export function readField(field: FieldLayout, view: DataView, index = 0): number {
  const at = field.offset + index * (field.size / field.length);
  switch (field.type) {
    case "i32":
      return view.getInt32(at, true);
    case "u32":
      return view.getUint32(at, true);
    case "f32":
      return view.getFloat32(at, true);
    case "f64":
      return view.getFloat64(at, true);
    case "i64":
      return Number(view.getBigInt64(at, true));
    case "u64":
    case "ptr":
      return Number(view.getBigUint64(at, true));
    case "char":
      return view.getUint8(at);
  }
}

/** Reads a char array up to its terminator. */
export function readText(field: FieldLayout, view: DataView): string {
  const bytes = Buffer.from(view.buffer, view.byteOffset + field.offset, field.size);
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end < 0 ? field.size : end);
}
