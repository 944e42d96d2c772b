import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { ServeError } from "../../core/errors.ts";
import type { MessageBounds } from "./message-bounds.ts";
import type { FieldsByNumber, WireField, WireFields } from "./wire-fields.ts";

/** protobuf's own limit on messages in messages. */
const MAX_DEPTH = 100;

/**
 * Walks the wire bytes of a message and counts what reading it would make objects of, without making any: 8 kB of gzip can
 * hold 4 million ids, which take 100 ms and 40 MB to read and a hundredth of that to refuse. Throws ServeError
 * invalid_argument beyond a bound, and for bytes that are no message of this type.
 */
export class MessageScan {
  private readonly view: DataView;
  private readonly counts = new Map<DescField, number>();
  private at = 0;
  private numFields = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly bounds: MessageBounds,
    private readonly types: WireFields,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  check(type: DescMessage): void {
    this.message(this.types.of(type), this.bytes.length, 0);
  }

  private message(fields: FieldsByNumber, end: number, depth: number): void {
    if (depth >= MAX_DEPTH) throw malformed(`it is nested more than ${MAX_DEPTH} levels deep`);
    while (this.at < end) {
      const tag = this.tag(end);
      this.field(fields.get(tag >>> 3), tag >>> 3, tag & 7, end, depth);
    }
  }

  private field(known: WireField | undefined, number: number, wireType: number, end: number, depth: number): void {
    if (known === undefined) {
      this.countField();
      this.skip(number, wireType, end, depth);
      return;
    }
    const packed = known.packable && wireType === WireType.LengthDelimited;
    if (wireType !== known.wireType && !packed) throw malformed("a field is not of its type");
    if (packed) {
      this.packed(known.field, this.length(end));
      return;
    }
    if (!known.packable) this.countField();
    if (known.repeated) this.countItems(known.field, 1);
    const inner = known.fields();
    if (inner === undefined) this.skip(number, wireType, end, depth);
    else this.message(inner, this.length(end), known.isMap ? depth : depth + 1);
  }

  /** Varints end with a byte below 128; the other packed types are not used by any message here. */
  private packed(field: DescField, end: number): void {
    const { bytes } = this;
    const most = this.bounds.ofList(field).most - (this.counts.get(field) ?? 0);
    let items = 0;
    while (this.at < end && items <= most) if (bytes[this.at++]! < 0x80) items++;
    this.countItems(field, items);
  }

  private countField(): void {
    this.numFields++;
    if (this.numFields > this.bounds.maxFields) throw malformed(`it has more than ${this.bounds.maxFields} fields`);
  }

  private countItems(field: DescField, more: number): void {
    const count = (this.counts.get(field) ?? 0) + more;
    this.counts.set(field, count);
    const bound = this.bounds.ofList(field);
    if (count > bound.most) throw bound.refusal();
  }

  private skip(number: number, wireType: number, end: number, depth: number): void {
    switch (wireType) {
      case WireType.Varint:
        this.skipVarint(end);
        return;
      case WireType.Bit64:
        this.advance(8, end);
        return;
      case WireType.LengthDelimited:
        this.at = this.length(end);
        return;
      case WireType.Bit32:
        this.advance(4, end);
        return;
      case WireType.StartGroup:
        this.skipGroup(number, end, depth + 1);
        return;
      default:
        throw malformed("a field has no type");
    }
  }

  private skipGroup(number: number, end: number, depth: number): void {
    if (depth >= MAX_DEPTH) throw malformed(`it is nested more than ${MAX_DEPTH} levels deep`);
    for (;;) {
      const tag = this.tag(end);
      if ((tag & 7) === WireType.EndGroup) {
        if (tag >>> 3 !== number) throw malformed("a group has another's end");
        return;
      }
      this.countField();
      this.skip(tag >>> 3, tag & 7, end, depth);
    }
  }

  /** Field number and wire type. */
  private tag(end: number): number {
    const tag = this.varint(end);
    if (tag >>> 3 === 0) throw malformed("a field has no number");
    return tag;
  }

  /** Reads a length; the position where what has this length ends. */
  private length(end: number): number {
    const length = this.varint(end);
    if (length > end - this.at) throw malformed("it ends too early");
    return this.at + length;
  }

  private advance(by: number, end: number): void {
    if (by > end - this.at) throw malformed("it ends too early");
    this.at += by;
  }

  private skipVarint(end: number): void {
    for (let i = 0; i < 10; i++) {
      if (this.at >= end) throw malformed("it ends too early");
      if (this.view.getUint8(this.at++) < 0x80) return;
    }
    throw malformed("a number is too long");
  }

  /** A tag or a length: 32 bits. */
  private varint(end: number): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (this.at >= end) throw malformed("it ends too early");
      const byte = this.view.getUint8(this.at++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw malformed("a number is too long");
  }
}

function malformed(why: string): ServeError {
  return new ServeError("invalid_argument", `The request is no valid protobuf message: ${why}.`, {
    reason: "invalid_protobuf",
  });
}
