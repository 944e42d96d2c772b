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

  constructor(definition: TokenizerDefinition, eosTokenIds: readonly number[]) {
    this.vocabSize = definition.special.length;
    this.bosTokenId = definition.bosTokenId;
    this.eosTokenIds = eosTokenIds;
    this.leadingSpacesStripped = definition.leadingSpacesStripped;
    this.#definition = definition;
    this.#encoder = new BpeTextEncoder(definition.encoder);
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
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(from));
  }

  tokenBytes(id: number): Uint8Array {
    const { bytes, offsets } = this.#definition.table;
    return id >= 0 && id < this.vocabSize ? bytes.subarray(offsets[id]!, offsets[id + 1]!) : NO_BYTES;
  }

  isSpecial(id: number): boolean {
    return this.#definition.special[id] === 1;
  }
}
