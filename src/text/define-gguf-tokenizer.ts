import type { GgufTokenizer } from "../model/spec.ts";
import { bpeEncoder } from "./bpe-encoder.ts";
import { SPLIT_DIGIT, SPLIT_GPT2, SPLIT_LLAMA3, SPLIT_QWEN2 } from "./split-patterns.ts";
import { buildTokenTable, WORD_MARK } from "./token-table.ts";
import {
  type AddedToken,
  type Normalizer,
  type TokenizerDefinition,
  TokenizerFormatError,
} from "./tokenizer-definition.ts";

/** tokenizer.ggml.token_type */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;

interface PreTokenizer {
  readonly splits: readonly string[];
  readonly normalizers?: readonly Normalizer[];
  readonly ignoreMerges?: boolean;
}

/** tokenizer.ggml.pre; each does what the same model's tokenizer.json does. */
const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  "gpt-2": { splits: [SPLIT_GPT2] },
  smollm: { splits: [SPLIT_DIGIT, SPLIT_GPT2] },
  "llama-bpe": { splits: [SPLIT_LLAMA3], ignoreMerges: true },
  qwen2: { splits: [SPLIT_QWEN2], normalizers: [{ type: "unicode", form: "NFC" }] },
};

/** Throws TokenizerFormatError for a kind of tokenizer that is not supported. */
export function defineGgufTokenizer(source: GgufTokenizer): TokenizerDefinition {
  const size = source.tokens.length;
  if (source.tokenTypes.length !== size) throw new TokenizerFormatError("tokens and token_type differ in length.");
  const addedTokens: AddedToken[] = [];
  const special = new Uint8Array(size);
  for (let id = 0; id < size; id++) {
    const type = source.tokenTypes[id];
    if (type === UNKNOWN || type === CONTROL) special[id] = 1;
    if ((special[id] === 1 || type === USER_DEFINED) && source.tokens[id] !== "") {
      addedTokens.push({
        id,
        content: source.tokens[id]!,
        singleWord: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
      });
    }
  }
  const common = {
    tokens: source.tokens,
    addedTokens,
    prefixIds: source.addBos ? [required(source.bosTokenId, "add_bos_token is set without bos_token_id")] : [],
    suffixIds: source.addEos ? [required(source.eosTokenId, "add_eos_token is set without eos_token_id")] : [],
  };
  const described = {
    special,
    bosTokenId: source.bosTokenId,
    templateTokens: templateTokens(source),
  };

  if (source.model === "gpt2") {
    const pre = PRE_TOKENIZERS[source.pre ?? ""];
    if (pre === undefined) {
      throw new TokenizerFormatError(
        `Pre-tokenizer '${source.pre ?? "(none)"}' is not supported; known are ${Object.keys(PRE_TOKENIZERS).join(", ")}.`,
      );
    }
    const table = buildTokenTable(source.tokens, "byte-level");
    const encoder = bpeEncoder({
      ...common,
      table,
      spelling: "byte-level",
      mergeRank: ranksOfMerges(source.tokens, source.merges ?? []),
      byteFallback: false,
      unknown: undefined,
      ignoreMerges: pre.ignoreMerges ?? false,
      splits: pre.splits,
      normalizers: pre.normalizers ?? [],
    });
    return { ...described, encoder, table, leadingSpacesStripped: 0 };
  }

  if (source.model === "llama") {
    const table = buildTokenTable(source.tokens, "sentencepiece");
    const unknownId = source.unkTokenId;
    const encoder = bpeEncoder({
      ...common,
      table,
      spelling: "sentencepiece",
      mergeRank: ranksOfScores(source),
      byteFallback: source.tokenTypes.includes(BYTE),
      unknown:
        unknownId === undefined ? undefined : { id: unknownId, content: source.tokens[unknownId] ?? "", fuse: true },
      ignoreMerges: false,
      splits: [],
      normalizers: [
        ...(source.addSpacePrefix ? [PREPEND_MARK] : []),
        { type: "replace", pattern: " ", content: WORD_MARK },
      ],
    });
    return { ...described, encoder, table, leadingSpacesStripped: source.addSpacePrefix ? 1 : 0 };
  }
  throw new TokenizerFormatError(`Tokenizer model '${source.model}' is not supported; known are gpt2, llama.`);
}

const PREPEND_MARK: Normalizer = { type: "prepend", content: WORD_MARK, unlessPresent: false, firstOnly: false };

/** [vocabSize] the index of the first of the merges ("a b") that makes a token, or -1. */
export function ranksOfMerges(tokens: ReadonlyArray<string | undefined>, merges: readonly string[]): Int32Array {
  const idOf = new Map<string, number>();
  for (let id = 0; id < tokens.length; id++) if (tokens[id] !== undefined) idOf.set(tokens[id]!, id);
  const ranks = new Int32Array(tokens.length).fill(-1);
  for (let rank = 0; rank < merges.length; rank++) {
    const merge = merges[rank]!;
    const space = merge.indexOf(" ");
    const id = space < 0 ? undefined : idOf.get(merge.slice(0, space) + merge.slice(space + 1));
    if (id === undefined) throw new TokenizerFormatError(`Merge ${rank} makes no token of the vocabulary.`);
    if (ranks[id] === -1) ranks[id] = rank;
  }
  return ranks;
}

/** SentencePiece merges by score, the highest first; every normal token is the result of a merge. */
function ranksOfScores(source: GgufTokenizer): Int32Array {
  const scores = source.scores;
  if (scores?.length !== source.tokens.length) throw new TokenizerFormatError("tokens and scores differ in length.");
  const ids: number[] = [];
  const seen = new Set<string>();
  for (let id = 0; id < source.tokens.length; id++) {
    const token = source.tokens[id]!;
    // Some conversions fill a vocabulary up with copies of a token; the first is the one in use.
    if (source.tokenTypes[id] !== NORMAL || token.length < 2 || seen.has(token)) continue;
    seen.add(token);
    ids.push(id);
  }
  ids.sort((a, b) => scores[b]! - scores[a]! || a - b);
  const ranks = new Int32Array(source.tokens.length).fill(-1);
  for (let rank = 0; rank < ids.length; rank++) ranks[ids[rank]!] = rank;
  return ranks;
}

function templateTokens(source: GgufTokenizer): Record<string, string> {
  const named: Record<string, number | undefined> = {
    bos_token: source.bosTokenId,
    eos_token: source.eosTokenId,
    unk_token: source.unkTokenId,
    pad_token: source.padTokenId,
  };
  const tokens: Record<string, string> = {};
  for (const [name, id] of Object.entries(named)) {
    const token = id === undefined ? undefined : source.tokens[id];
    if (token !== undefined) tokens[name] = token;
  }
  return tokens;
}

function required(id: number | undefined, message: string): number {
  if (id === undefined) throw new TokenizerFormatError(message);
  return id;
}
