import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";

/** What the bytes of a field look like. */
export interface WireField {
  readonly field: DescField;
  /** Of one item, where the field is repeated. */
  readonly wireType: WireType;
  readonly repeated: boolean;
  /** Items may also stand in one block, one after the other. */
  readonly packable: boolean;
  readonly isMap: boolean;
  /** Those of the message in it, or of a map's entry. A function, since types hold themselves. */
  fields(): FieldsByNumber | undefined;
}

export type FieldsByNumber = ReadonlyMap<number, WireField>;

/** The fields of message types; each type's are made once. */
export class WireFields {
  private readonly known = new Map<DescMessage, FieldsByNumber>();

  of(type: DescMessage): FieldsByNumber {
    let fields = this.known.get(type);
    if (fields === undefined) {
      fields = new Map(type.fields.map((field) => [field.number, this.wireField(field)]));
      this.known.set(type, fields);
    }
    return fields;
  }

  private wireField(field: DescField): WireField {
    const { fieldKind, message } = field;
    const entry = fieldKind === "map" ? this.mapEntry(field) : undefined;
    const wireType = entry === undefined ? itemWireType(field) : WireType.LengthDelimited;
    return {
      field,
      wireType,
      repeated: fieldKind === "list" || fieldKind === "map",
      packable: fieldKind === "list" && wireType !== WireType.LengthDelimited,
      isMap: fieldKind === "map",
      fields: () => entry ?? (message === undefined ? undefined : this.of(message)),
    };
  }

  /** An entry is a message of a key and a value. */
  private mapEntry(field: DescField & { fieldKind: "map" }): FieldsByNumber {
    const one = { field, repeated: false, packable: false, isMap: false };
    const { message } = field;
    const value = () => (message === undefined ? undefined : this.of(message));
    return new Map<number, WireField>([
      [1, { ...one, wireType: scalarWireType(field.mapKey), fields: () => undefined }],
      [2, { ...one, wireType: itemWireType(field), fields: value }],
    ]);
  }
}

function itemWireType({ scalar, enum: enumType }: DescField): WireType {
  if (scalar !== undefined) return scalarWireType(scalar);
  return enumType === undefined ? WireType.LengthDelimited : WireType.Varint;
}

function scalarWireType(scalar: ScalarType): WireType {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}
