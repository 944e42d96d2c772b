import { readFileSync } from "node:fs";
import { openModel } from "../../src/model/open-model.ts";
import type { GgufTokenizer, TextSource } from "../../src/model/spec.ts";
import { BpeTokenizer } from "../../src/text/bpe-tokenizer.ts";
import { defineTokenizer } from "../../src/text/define-tokenizer.ts";

export const BUNDLED_MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

export interface Corpus {
  texts: string[];
  expected: Record<string, { ids: number[][]; decoded: Record<string, string> }>;
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

export const corpus = readJson<Corpus>("test/fixtures/text/corpus.json");

export function jsonSource(path: string, config = "{}"): TextSource {
  return {
    tokenizer: { kind: "tokenizer_json", json: readFileSync(path, "utf8"), config },
    chatTemplate: undefined,
    eosTokenIds: [],
    bosTokenId: undefined,
  };
}

let bundled: TextSource | undefined;

/** The bundled model's, from its GGUF metadata. */
export function bundledSource(): TextSource {
  bundled ??= openModel(BUNDLED_MODEL).text;
  return bundled;
}

/** The source that corpus.json means by a name. */
export function sourceOf(name: string): TextSource {
  if (name === "smollm") return bundledSource();
  if (name === "golden") return jsonSource("test/fixtures/goldens/tiny-llama/tokenizer.json");
  return jsonSource(`test/fixtures/text/${name}.tokenizer.json`);
}

const tokenizers = new Map<string, BpeTokenizer>();

export function tokenizerOf(name: string): BpeTokenizer {
  let tokenizer = tokenizers.get(name);
  if (tokenizer === undefined) {
    const source = sourceOf(name);
    tokenizer = new BpeTokenizer(defineTokenizer(source), source.eosTokenIds);
    tokenizers.set(name, tokenizer);
  }
  return tokenizer;
}

interface HfTokenizer {
  added_tokens: Array<{ id: number; content: string; special: boolean }>;
  model: { vocab: Record<string, number>; merges: Array<[string, string]> };
}

/** The same tokenizer as GGUF metadata would describe it. */
export function asGguf(name: string, model: string, pre: string | undefined): TextSource {
  const json = readJson<HfTokenizer>(`test/fixtures/text/${name}.tokenizer.json`);
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(json.model.vocab)) tokens[id] = token;
  for (const { id, content } of json.added_tokens) tokens[id] = content;
  const tokenTypes = Int32Array.from(tokens, (token) => (/^<0x[0-9A-F]{2}>$/.test(token) ? 6 : 1));
  for (const { id, content, special } of json.added_tokens) tokenTypes[id] = content === "<unk>" ? 2 : special ? 3 : 4;
  const idOf = (token: string) => (tokens.includes(token) ? tokens.indexOf(token) : undefined);
  const bosTokenId = model === "llama" ? idOf("<s>") : idOf("<|begin_of_text|>");
  const gguf: GgufTokenizer = {
    kind: "gguf",
    model,
    pre,
    tokens,
    tokenTypes,
    scores: model === "llama" ? scoresOf(tokens, json.model.merges) : undefined,
    merges: model === "llama" ? undefined : json.model.merges.map((pair) => pair.join(" ")),
    bosTokenId,
    eosTokenId: undefined,
    unkTokenId: idOf("<unk>"),
    padTokenId: undefined,
    addBos: bosTokenId !== undefined,
    addEos: false,
    addSpacePrefix: model === "llama",
  };
  return { tokenizer: gguf, chatTemplate: undefined, eosTokenIds: [], bosTokenId };
}

/** As SentencePiece numbers them: the first merge has the highest score. */
function scoresOf(tokens: readonly string[], merges: ReadonlyArray<[string, string]>): Float32Array {
  const scores = new Float32Array(tokens.length).fill(-1e6);
  merges.forEach(([left, right], rank) => {
    const id = tokens.indexOf(left + right);
    if (scores[id] === -1e6) scores[id] = -rank;
  });
  return scores;
}

/** A small seeded generator (mulberry32), so that a failing case can be run again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An int32 tensor of a safetensors file. */
export function readInt32Tensor(path: string, name: string): Int32Array {
  const file = readFileSync(path);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerBytes)) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const tensor = header[name]!;
  if (tensor.dtype !== "I32") throw new Error(`${name} is ${tensor.dtype}`);
  const [from, to] = tensor.data_offsets;
  return new Int32Array(Uint8Array.from(file.subarray(8 + headerBytes + from, 8 + headerBytes + to)).buffer);
}
