import { asList, asObject, asString, asTokenId, type JsonObject } from "./json-shape.ts";
import { SPLIT_DIGIT, SPLIT_DIGITS, SPLIT_GPT2 } from "./split-patterns.ts";
import { WORD_MARK } from "./token-table.ts";
import { type Normalizer, TokenizerFormatError } from "./tokenizer-definition.ts";

/** The steps of tokenizer.json before and after the model, read into this server's own terms. */

function unsupported(what: string, type: unknown): TokenizerFormatError {
  return new TokenizerFormatError(`tokenizer.json: ${what} '${String(type)}' is not supported.`);
}

/** A step or a Sequence of steps (under `listName`), as a flat list. */
function flatten(step: unknown, listName: string, place: string): JsonObject[] {
  if (step === null || step === undefined) return [];
  const object = asObject(step, place);
  if (object.type !== "Sequence") return [object];
  return asList(object[listName], `${place}.${listName}`).flatMap((inner) => flatten(inner, listName, place));
}

export function readNormalizers(step: unknown): Normalizer[] {
  const normalizers: Normalizer[] = [];
  for (const { type, prepend, pattern, content } of flatten(step, "normalizers", "normalizer")) {
    if (type === "NFC" || type === "NFD" || type === "NFKC" || type === "NFKD") {
      normalizers.push({ type: "unicode", form: type });
    } else if (type === "Lowercase") {
      normalizers.push({ type: "lowercase" });
    } else if (type === "Prepend") {
      const text = asString(prepend, "normalizer.prepend");
      normalizers.push({ type: "prepend", content: text, unlessPresent: false, firstOnly: false });
    } else if (type === "Replace") {
      const text = asObject(pattern, "normalizer.pattern").String;
      if (typeof text !== "string") throw unsupported("normalizer", "Replace with an expression");
      normalizers.push({ type: "replace", pattern: text, content: asString(content, "normalizer.content") });
    } else {
      throw unsupported("normalizer", type);
    }
  }
  return normalizers;
}

export interface PreTokenizerSteps {
  readonly byteLevel: boolean;
  readonly splits: readonly string[];
  /** What the pre-tokenizer does to the text itself; runs after the normalizers. */
  readonly normalizers: readonly Normalizer[];
}

export function readPreTokenizers(step: unknown): PreTokenizerSteps {
  let byteLevel = false;
  const splits: string[] = [];
  const normalizers: Normalizer[] = [];
  for (const part of flatten(step, "pretokenizers", "pre_tokenizer")) {
    if (part.type === "ByteLevel") {
      byteLevel = true;
      if (part.add_prefix_space === true) {
        // After a split it would put a space before every word; no known tokenizer does that.
        if (splits.length > 0) throw unsupported("pre-tokenizer", "ByteLevel with add_prefix_space after a split");
        normalizers.push({ type: "prepend", content: " ", unlessPresent: true, firstOnly: false });
      }
      if (part.use_regex !== false) splits.push(SPLIT_GPT2);
    } else if (part.type === "Digits") {
      splits.push(part.individual_digits === true ? SPLIT_DIGIT : SPLIT_DIGITS);
    } else if (part.type === "Split") {
      splits.push(readSplit(part));
    } else if (part.type === "Metaspace") {
      const scheme = part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always");
      if (part.replacement !== WORD_MARK) throw unsupported("Metaspace replacement", part.replacement);
      normalizers.push({ type: "replace", pattern: " ", content: WORD_MARK });
      if (scheme !== "never") {
        normalizers.push({
          type: "prepend",
          content: WORD_MARK,
          unlessPresent: true,
          firstOnly: scheme === "first",
        });
      }
      if (part.split !== false) splits.push(`${WORD_MARK}[^${WORD_MARK}]*|[^${WORD_MARK}]+`);
    } else {
      throw unsupported("pre-tokenizer", part.type);
    }
  }
  return { byteLevel, splits, normalizers };
}

/** Only splits that keep all of the text: matches apart, and what lies between them apart. */
function readSplit(part: JsonObject): string {
  const pattern = asObject(part.pattern, "pre_tokenizer.pattern");
  const isolates = part.behavior === "Isolated" || (part.behavior === "Removed" && part.invert === true);
  if (!isolates) throw unsupported("Split behavior", part.behavior);
  if (typeof pattern.Regex === "string") return pattern.Regex;
  return asString(pattern.String, "pre_tokenizer.pattern").replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

export interface DecoderSteps {
  readonly byteLevel: boolean;
  readonly byteFallback: boolean;
  readonly leadingSpacesStripped: number;
}

/** What lies beyond joining the tokens' bytes: only the spaces stripped at the start. */
export function readDecoders(step: unknown): DecoderSteps {
  let byteLevel = false;
  let byteFallback = false;
  let leadingSpacesStripped = 0;
  for (const { type, pattern, content, start, stop, prepend_scheme } of flatten(step, "decoders", "decoder")) {
    if (type === "ByteLevel") {
      byteLevel = true;
    } else if (type === "ByteFallback") {
      byteFallback = true;
    } else if (type === "Replace") {
      if (asObject(pattern, "decoder.pattern").String !== WORD_MARK || content !== " ") {
        throw unsupported("decoder", "Replace of anything but the word mark");
      }
    } else if (type === "Strip") {
      if (content !== " " || stop !== 0) throw unsupported("decoder", "Strip of anything but leading spaces");
      leadingSpacesStripped = asTokenId(start, "decoder.start");
    } else if (type === "Metaspace") {
      leadingSpacesStripped = prepend_scheme === "never" ? 0 : 1;
    } else if (type !== "Fuse") {
      throw unsupported("decoder", type);
    }
  }
  return { byteLevel, byteFallback, leadingSpacesStripped };
}

export interface TemplateIds {
  readonly prefixIds: readonly number[];
  readonly suffixIds: readonly number[];
}

/** The tokens that the post-processor puts before and after a text. */
export function readPostProcessor(step: unknown): TemplateIds {
  const prefixIds: number[] = [];
  const suffixIds: number[] = [];
  for (const part of flatten(step, "processors", "post_processor")) {
    if (part.type === "ByteLevel") continue; // moves offsets only
    if (part.type !== "TemplateProcessing") throw unsupported("post-processor", part.type);
    const named = asObject(part.special_tokens, "post_processor.special_tokens");
    let ids = prefixIds;
    for (const piece of asList(part.single, "post_processor.single")) {
      const special = asObject(piece, "post_processor.single").SpecialToken;
      if (special === undefined) {
        ids = suffixIds;
        continue;
      }
      const name = asString(asObject(special, "post_processor.single").id, "post_processor.single.id");
      const token = asObject(named[name], `post_processor.special_tokens.${name}`);
      ids.push(...asList(token.ids, "post_processor.ids").map((id) => asTokenId(id, "post_processor.ids")));
    }
  }
  return { prefixIds, suffixIds };
}
