/**
 * Writes a byte-pair encoder in kitoken's definition format (version 0.1: "kitoken", 0, 1, then the definition in
 * postcard's encoding: LEB128 integers, length-prefixed lists, enums by index). Loading one takes a tenth of the time of
 * kitoken's own conversion of tokenizer.json, and its conversion is not exact: it has a different GPT-2 expression, and
 * makes tokens that no merge makes.
 */
export interface KitDefinition {
  /** Ids in merge order: of two possible merges, the one whose token stands earlier here is made first. */
  readonly order: ArrayLike<number>;
  /** The bytes of a token, as they occur in text given to the encoder. */
  readonly tokenBytes: (id: number) => Uint8Array;
  /** What merging begins with: single bytes, or characters. */
  readonly units: "bytes" | "characters";
  /** A character without a token is encoded as the tokens of its bytes. Otherwise as `unknown`, or dropped. */
  readonly byteFallback: boolean;
  readonly unknown: { readonly id: number; readonly content: string; readonly fuse: boolean } | undefined;
  /** Applied in order; matches and what lies between them become parts that no token crosses. */
  readonly splits: readonly string[];
}

const FALLBACK = { skip: 0, unknown: 1, bytes: 2 };
const MODEL_BYTE_PAIR = 0;
const SPLIT_PATTERN = 0;
const PATTERN_REGEX = 2;
const BEHAVIOR_ISOLATE = 2;
const PROCESSING_COLLAPSE = 1;
const SPECIAL_UNKNOWN = 0;

class PostcardWriter {
  #bytes = new Uint8Array(1 << 16);
  #length = 0;

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }

  raw(bytes: ArrayLike<number>): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  varint(value: number): void {
    this.#reserve(5);
    while (value >= 0x80) {
      this.#bytes[this.#length++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    this.#bytes[this.#length++] = value;
  }

  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  string(text: string): void {
    this.bytes(new TextEncoder().encode(text));
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

export function writeKit(definition: KitDefinition): Uint8Array {
  const out = new PostcardWriter();
  out.raw(new TextEncoder().encode("kitoken"));
  out.raw([0, 1]);
  // Metadata: version, source, further pairs. Of special tokens, "tokenizers" makes encode() recognise none by itself.
  out.string("0.10.1");
  out.string("tokenizers");
  out.varint(0);

  out.varint(MODEL_BYTE_PAIR);
  out.varint(definition.order.length);
  for (let i = 0; i < definition.order.length; i++) {
    const id = definition.order[i]!;
    out.varint(id);
    out.bytes(definition.tokenBytes(id));
  }
  out.raw([definition.units === "characters" ? 1 : 0]);

  const { unknown } = definition;
  out.varint(unknown === undefined ? 0 : 1);
  if (unknown !== undefined) {
    out.varint(unknown.id);
    out.string(unknown.content);
    // kind; no identifier; score (float32); cut out before normalising.
    out.raw([SPECIAL_UNKNOWN, 0, 0, 0, 0, 0, 0]);
  }

  const fallbacks = [FALLBACK.skip];
  if (unknown !== undefined) fallbacks.unshift(FALLBACK.unknown);
  if (definition.byteFallback) fallbacks.unshift(FALLBACK.bytes);
  out.varint(fallbacks.length);
  out.raw(fallbacks);
  out.varint(0); // normalization: done before the text comes here
  out.varint(definition.splits.length);
  for (const expression of definition.splits) {
    out.raw([SPLIT_PATTERN, PATTERN_REGEX]);
    out.string(expression);
    out.raw([BEHAVIOR_ISOLATE]);
  }
  out.varint(unknown?.fuse ? 1 : 0);
  if (unknown?.fuse) {
    out.raw([PROCESSING_COLLAPSE]);
    out.varint(unknown.id);
  }
  out.varint(0); // decoding: tokens are decoded from the token table
  out.varint(0); // templates: added by the caller
  return out.finish();
}
