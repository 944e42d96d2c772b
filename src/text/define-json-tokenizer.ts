import type { TokenizerJson } from "../model/spec.ts";
import { bpeEncoder } from "./bpe-encoder.ts";
import { asList, asObject, asString, asTokenId, isObject, type JsonObject, parseObject } from "./json-shape.ts";
import { buildTokenTable } from "./token-table.ts";
import { type AddedToken, type TokenizerDefinition, TokenizerFormatError } from "./tokenizer-definition.ts";
import {
  readDecoders,
  readNormalizers,
  readPostProcessor,
  readPreTokenizers,
  type TemplateIds,
} from "./tokenizer-json-steps.ts";

/** Throws TokenizerFormatError for a kind of tokenizer that is not supported. */
export function defineJsonTokenizer(source: TokenizerJson, bosTokenId: number | undefined): TokenizerDefinition {
  const json = parseObject(source.json, "tokenizer.json");
  const config = parseObject(source.config, "tokenizer_config.json");
  const model = asObject(json.model, "tokenizer.json: model");
  checkModel(model);

  const vocab = Object.entries(asObject(model.vocab, "tokenizer.json: model.vocab"));
  const added = asList(json.added_tokens, "tokenizer.json: added_tokens").map((token) =>
    asObject(token, "tokenizer.json: added_tokens"),
  );
  const tokens: Array<string | undefined> = [];
  for (const [token, id] of vocab) tokens[asTokenId(id, "tokenizer.json: model.vocab")] = token;
  for (const token of added) {
    tokens[asTokenId(token.id, "tokenizer.json: added_tokens.id")] = asString(token.content, "added_tokens.content");
  }
  const special = new Uint8Array(tokens.length);
  for (const token of added) if (token.special === true) special[token.id as number] = 1;

  const pre = readPreTokenizers(json.pre_tokenizer);
  const decoder = readDecoders(json.decoder);
  if (pre.byteLevel !== decoder.byteLevel) {
    throw new TokenizerFormatError("tokenizer.json: pre-tokenizer and decoder disagree on ByteLevel.");
  }
  const spelling = pre.byteLevel ? "byte-level" : "sentencepiece";
  const table = buildTokenTable(tokens, spelling);
  const unknown = typeof model.unk_token === "string" ? model.unk_token : undefined;
  const unknownId = unknown === undefined ? -1 : tokens.indexOf(unknown);
  const encoder = bpeEncoder({
    tokens,
    table,
    spelling,
    mergeRank: mergeRanks(tokens.length, model),
    byteFallback: model.byte_fallback === true,
    unknown: unknownId < 0 ? undefined : { id: unknownId, content: unknown!, fuse: model.fuse_unk === true },
    ignoreMerges: model.ignore_merges === true,
    splits: pre.splits,
    normalizers: [...readNormalizers(json.normalizer), ...pre.normalizers],
    addedTokens: added.map(readAddedToken).filter((token) => token.content !== ""),
    ...templateIds(json, config, tokens),
  });
  const templateTokens = readTemplateTokens(config);
  return {
    encoder,
    table,
    special,
    leadingSpacesStripped: decoder.leadingSpacesStripped,
    bosTokenId: bosTokenId ?? idOf(tokens, templateTokens.bos_token),
    templateTokens,
  };
}

function checkModel(model: JsonObject): void {
  // Old files leave the type out; only BPE has merges.
  if ((model.type ?? "BPE") !== "BPE" || model.merges === undefined) {
    throw new TokenizerFormatError(`tokenizer.json: model '${String(model.type)}' is not supported, only BPE is.`);
  }
  for (const field of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    const value = model[field];
    if (value !== undefined && value !== null && value !== "") {
      throw new TokenizerFormatError(`tokenizer.json: model.${field} is not supported.`);
    }
  }
}

/** Merges are "a b" or ["a", "b"]; of several that make one token, the first counts. */
function mergeRanks(size: number, model: JsonObject): Int32Array {
  const vocab = model.vocab as Readonly<Record<string, number>>;
  const ranks = new Int32Array(size).fill(-1);
  const merges = asList(model.merges, "tokenizer.json: model.merges");
  for (let rank = 0; rank < merges.length; rank++) {
    const merge = merges[rank];
    let token: unknown;
    if (typeof merge === "string") {
      const space = merge.indexOf(" ");
      token = merge.slice(0, space) + merge.slice(space + 1);
    } else if (Array.isArray(merge)) {
      token = merge.join("");
    }
    if (typeof token !== "string" || !Object.hasOwn(vocab, token)) {
      throw new TokenizerFormatError(`tokenizer.json: merge ${rank} makes no token of the vocabulary.`);
    }
    const id = vocab[token]!;
    if (ranks[id] === -1) ranks[id] = rank;
  }
  return ranks;
}

function readAddedToken(token: JsonObject): AddedToken {
  return {
    id: token.id as number,
    content: token.content as string,
    singleWord: token.single_word === true,
    lstrip: token.lstrip === true,
    rstrip: token.rstrip === true,
    normalized: token.normalized === true,
  };
}

/** Llama's tokenizer class lets tokenizer_config.json say whether BOS and EOS are added, over what tokenizer.json says. */
function templateIds(json: JsonObject, config: JsonObject, tokens: ReadonlyArray<string | undefined>): TemplateIds {
  const { prefixIds, suffixIds } = readPostProcessor(json.post_processor);
  if (!/^(Code)?LlamaTokenizer(Fast)?$/.test(String(config.tokenizer_class))) return { prefixIds, suffixIds };
  const named = readTemplateTokens(config);
  const override = (flag: unknown, ids: readonly number[], token: string | undefined): readonly number[] => {
    if (typeof flag !== "boolean") return ids;
    const id = idOf(tokens, token);
    return flag && id !== undefined ? [id] : [];
  };
  return {
    prefixIds: override(config.add_bos_token, prefixIds, named.bos_token),
    suffixIds: override(config.add_eos_token, suffixIds, named.eos_token),
  };
}

function readTemplateTokens(config: JsonObject): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "unk_token", "pad_token"]) {
    const value = config[name];
    const text = isObject(value) ? value.content : value;
    if (typeof text === "string") tokens[name] = text;
  }
  return tokens;
}

function idOf(tokens: ReadonlyArray<string | undefined>, token: string | undefined): number | undefined {
  const id = token === undefined ? -1 : tokens.indexOf(token);
  return id < 0 ? undefined : id;
}
