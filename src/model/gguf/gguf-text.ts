import type { GgufTokenizer, TextSource } from "../spec.ts";
import type { Metadata } from "./metadata.ts";

/** Control tokens that end a turn in the published chat formats; files often name only one end token. */
const TURN_ENDS = new Set([
  "<|im_end|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|end|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|end_of_text|>",
]);
const CONTROL = 3;
/** Pre-tokenizers whose files start a text with BOS unless they say otherwise. */
const BOS_BY_DEFAULT = new Set(["llama-bpe", "llama3", "llama-v3"]);
const ID_KEYS = {
  bos_token: "bos_token_id",
  eos_token: "eos_token_id",
  unk_token: "unknown_token_id",
  pad_token: "padding_token_id",
} as const;

/** Reads tokenizer.*: vocabulary, special tokens, chat templates. Throws ModelError. */
export function readGgufText(metadata: Metadata, vocabSize: number): TextSource {
  const tokenizer = readTokenizer(metadata, vocabSize);
  const id = (name: string) => tokenId(metadata, name, tokenizer.tokens.length);
  const ends = new Set<number>();
  for (const name of ["eos_token_id", "eot_token_id", "eom_token_id"]) {
    const end = id(name);
    if (end !== undefined) ends.add(end);
  }
  tokenizer.tokens.forEach((text, index) => {
    if (tokenizer.tokenTypes[index] === CONTROL && TURN_ENDS.has(text)) ends.add(index);
  });

  const specialTokens: Record<string, string> = {};
  for (const [name, key] of Object.entries(ID_KEYS)) {
    const index = id(key);
    if (index !== undefined) specialTokens[name] = tokenizer.tokens[index]!;
  }
  const namedTemplates: Record<string, string> = {};
  for (const name of metadata.strings("tokenizer.chat_templates") ?? []) {
    const template = metadata.string(`tokenizer.chat_template.${name}`);
    if (template !== undefined) namedTemplates[name] = template;
  }
  return {
    tokenizer,
    chatTemplate: metadata.string("tokenizer.chat_template"),
    namedTemplates,
    specialTokens,
    eosTokenIds: [...ends].sort((a, b) => a - b),
    bosTokenId: tokenizer.bosTokenId,
  };
}

function readTokenizer(metadata: Metadata, vocabSize: number): GgufTokenizer {
  const key = (name: string) => `tokenizer.ggml.${name}`;
  const model = metadata.string(key("model"));
  if (model !== "gpt2" && model !== "llama") {
    throw metadata.error(key("model"), `is ${model ?? "missing"}; supported are gpt2 (byte-level BPE) and llama`);
  }
  const tokens = metadata.strings(key("tokens"));
  if (tokens === undefined || tokens.length === 0) throw metadata.error(key("tokens"), "is missing or empty");
  if (tokens.length > vocabSize) {
    throw metadata.error(key("tokens"), `has ${tokens.length} tokens, but the embedding only ${vocabSize} rows`);
  }
  const perToken = (name: string) => {
    const values = metadata.numbers(key(name));
    if (values !== undefined && values.length !== tokens.length) {
      throw metadata.error(key(name), `has ${values.length} values for ${tokens.length} tokens`);
    }
    return values;
  };
  const types = perToken("token_type");
  const scores = perToken("scores");
  const merges = metadata.strings(key("merges"));
  if (model === "gpt2" && merges === undefined) throw metadata.error(key("merges"), "is missing");
  if (model === "llama" && scores === undefined) throw metadata.error(key("scores"), "is missing");
  const pre = metadata.string(key("pre"));
  const sentencePiece = model === "llama";
  // SentencePiece's own numbers, for files that leave them out.
  const id = (name: string, fallback: number) =>
    tokenId(metadata, name, tokens.length) ?? (sentencePiece && fallback < tokens.length ? fallback : undefined);
  return {
    kind: "gguf",
    model,
    pre,
    tokens,
    tokenTypes: types === undefined ? new Int32Array(tokens.length).fill(1) : Int32Array.from(types),
    scores: scores === undefined ? undefined : Float32Array.from(scores),
    merges,
    bosTokenId: id("bos_token_id", 1),
    eosTokenId: id("eos_token_id", 2),
    unkTokenId: id("unknown_token_id", 0),
    padTokenId: tokenId(metadata, "padding_token_id", tokens.length),
    addBos: metadata.bool(key("add_bos_token")) ?? (sentencePiece || BOS_BY_DEFAULT.has(pre ?? "")),
    addEos: metadata.bool(key("add_eos_token")) ?? false,
    addSpacePrefix: metadata.bool(key("add_space_prefix")) ?? sentencePiece,
  };
}

function tokenId(metadata: Metadata, name: string, numTokens: number): number | undefined {
  const key = `tokenizer.ggml.${name}`;
  // Converters write -1, as u32, for a token that the model does not have.
  if (metadata.raw(key) === 0xffffffff || metadata.raw(key) === -1) return undefined;
  return metadata.int(key, 0, numTokens - 1);
}
