import { isUtf8 } from "node:buffer";
import { BpeTextEncoder } from "./bpe-text-encoder.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { TokenizerDefinition } from "./tokenizer-definition.ts";

const SPACE = 0x20;
const NO_BYTES = new Uint8Array(0);

export class BpeTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
  readonly leadingSpacesStripped: number;
  readonly #definition: TokenizerDefinition;
  readonly #encoder: BpeTextEncoder;
  /** By id, made when first asked for; null: not whole characters. One string serves every stream that says it. */
  readonly #texts: (string | null | undefined)[];

  constructor(definition: TokenizerDefinition, eosTokenIds: readonly number[]) {
    this.vocabSize = definition.special.length;
    this.bosTokenId = definition.bosTokenId;
    this.eosTokenIds = eosTokenIds;
    this.leadingSpacesStripped = definition.leadingSpacesStripped;
    this.#definition = definition;
    this.#encoder = new BpeTextEncoder(definition.encoder);
    this.#texts = new Array(this.vocabSize).fill(undefined);
  }

  encode(text: string, addSpecialTokens: boolean): Int32Array {
    return this.#encoder.encode(text, addSpecialTokens);
  }

  decode(ids: ArrayLike<number>, skipSpecialTokens: boolean): string {
    const kept: Uint8Array[] = [];
    for (let i = 0; i < ids.length; i++) {
      if (!(skipSpecialTokens && this.isSpecial(ids[i]!))) kept.push(this.tokenBytes(ids[i]!));
    }
    const bytes = Buffer.concat(kept);
    let from = 0;
    while (from < this.leadingSpacesStripped && bytes[from] === SPACE) from++;
    return decodeUtf8(bytes.subarray(from));
  }

  tokenBytes(id: number): Uint8Array {
    const { bytes, offsets } = this.#definition.table;
    return id >= 0 && id < this.vocabSize ? bytes.subarray(offsets[id]!, offsets[id + 1]!) : NO_BYTES;
  }

  tokenText(id: number): string | undefined {
    let text = this.#texts[id];
    if (text === undefined) {
      const bytes = this.tokenBytes(id);
      text = isUtf8(bytes) ? decodeUtf8(bytes) : null;
      if (id >= 0 && id < this.vocabSize) this.#texts[id] = text;
    }
    return text ?? undefined;
  }

  isSpecial(id: number): boolean {
    return this.#definition.special[id] === 1;
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
