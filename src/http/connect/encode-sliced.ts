import {
  type DescField,
  type DescMessage,
  type JsonWriteOptions,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { TurnBudget } from "../turn-budget.ts";
import { Blocks } from "./blocks.ts";

/** A message that is encoded part by part: made, encoded and forgotten one after the other. */
export interface Sliced {
  readonly schema: DescMessage;
  /** What is encoded in one go; without `parts`. */
  readonly message: Message;
  readonly parts?: readonly SlicedField[];
}

/** A field of messages; `items` has one where the field is not repeated. */
export interface SlicedField {
  readonly field: DescField;
  readonly items: Iterable<Sliced>;
}

export interface SlicedOptions {
  readonly turns: TurnBudget;
  readonly signal: AbortSignal;
  readonly maxBytes: number;
  readonly tooLarge: (maxBytes: number) => Error;
  /** Set for JSON. */
  readonly json?: Partial<JsonWriteOptions> | undefined;
}

/**
 * Encodes a large message in slices that leave the event loop to others. Rejects with the signal's reason once it aborts, and
 * with what `tooLarge` makes beyond `maxBytes`.
 */
export async function encodeSliced(message: Sliced, options: SlicedOptions): Promise<Blocks> {
  const { turns, signal, maxBytes, tooLarge, json } = options;
  const blocks = new Blocks();
  const steps = json === undefined ? binarySteps(message, blocks) : jsonSteps(message, json, blocks);
  const bounded = steps.map(({ length }) => {
    if (length > maxBytes) throw tooLarge(maxBytes);
    return length;
  });
  await turns.run(bounded, signal);
  return blocks;
}

/** Yields the blocks that have grown. */
function* binarySteps({ schema, message, parts = [] }: Sliced, blocks: Blocks): Generator<Blocks> {
  blocks.add(toBinary(schema, message));
  for (const { field, items } of parts) {
    for (const item of items) {
      if (item.parts === undefined) {
        const bytes = toBinary(item.schema, item.message);
        blocks.add(prefix(field, bytes.length));
        blocks.add(bytes);
      } else {
        const inner = new Blocks();
        yield* binarySteps(item, inner);
        blocks.add(prefix(field, inner.length));
        blocks.append(inner);
      }
      yield blocks;
    }
  }
}

function* jsonSteps(message: Sliced, options: Partial<JsonWriteOptions>, blocks: Blocks): Generator<Blocks> {
  const encoder = new TextEncoder();
  for (const piece of jsonPieces(message, options)) {
    blocks.add(encoder.encode(piece));
    yield blocks;
  }
}

function prefix(field: DescField, length: number): Uint8Array {
  return new BinaryWriter().tag(field.number, WireType.LengthDelimited).uint32(length).finish();
}

function* jsonPieces({ schema, message, parts = [] }: Sliced, options: Partial<JsonWriteOptions>): Generator<string> {
  const object = toJson(schema, message, options) as Record<string, unknown>;
  // Implicit fields are there though they are empty.
  for (const { field } of parts) delete object[field.name];
  const head = JSON.stringify(object).slice(0, -1);
  yield head;
  let before = head === "{" ? "" : ",";
  for (const { field, items } of parts) {
    const isList = field.fieldKind === "list";
    yield `${before}"${field.name}":${isList ? "[" : ""}`;
    before = ",";
    let beforeItem = "";
    for (const item of items) {
      if (beforeItem !== "") yield beforeItem;
      beforeItem = ",";
      if (item.parts === undefined) yield JSON.stringify(toJson(item.schema, item.message, options));
      else yield* jsonPieces(item, options);
    }
    if (isList) yield "]";
  }
  yield "}";
}
