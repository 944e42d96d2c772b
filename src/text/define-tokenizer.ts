import type { TextSource } from "../model/spec.ts";
import { defineGgufTokenizer } from "./define-gguf-tokenizer.ts";
import { defineJsonTokenizer } from "./define-json-tokenizer.ts";
import type { TokenizerDefinition } from "./tokenizer-definition.ts";

/** Throws TokenizerFormatError for a kind of tokenizer that is not supported. */
export function defineTokenizer(source: TextSource): TokenizerDefinition {
  return source.tokenizer.kind === "gguf"
    ? defineGgufTokenizer(source.tokenizer)
    : defineJsonTokenizer(source.tokenizer, source.bosTokenId);
}
