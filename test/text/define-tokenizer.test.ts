import { describe, expect, test } from "bun:test";
import type { GgufTokenizer, TextSource } from "../../src/model/spec.ts";
import { BpeTokenizer } from "../../src/text/bpe-tokenizer.ts";
import { defineTokenizer } from "../../src/text/define-tokenizer.ts";
import { TokenizerFormatError } from "../../src/text/tokenizer-definition.ts";
import { asGguf, sourceOf } from "./sources.ts";

type Json = Record<string, unknown> & { model: Record<string, unknown> };

/** A fixture's tokenizer.json with some of it changed. */
function changed(name: string, change: (json: Json) => void, config: object = {}): TextSource {
  const source = sourceOf(name);
  if (source.tokenizer.kind !== "tokenizer_json") throw new Error("not a tokenizer.json");
  const json = JSON.parse(source.tokenizer.json) as Json;
  change(json);
  return {
    ...source,
    tokenizer: { kind: "tokenizer_json", json: JSON.stringify(json), config: JSON.stringify(config) },
  };
}

function gguf(change: Partial<GgufTokenizer>): TextSource {
  const source = asGguf("gpt2", "gpt2", "gpt-2");
  return { ...source, tokenizer: { ...(source.tokenizer as GgufTokenizer), ...change } };
}

describe("descriptions that are damaged or not supported are refused by name", () => {
  const cases: Array<[string, TextSource, string]> = [
    [
      "not JSON",
      { ...sourceOf("gpt2"), tokenizer: { kind: "tokenizer_json", json: "{", config: "{}" } },
      "not valid JSON",
    ],
    ["no model", changed("gpt2", (json) => Reflect.deleteProperty(json, "model")), "model must be an object"],
    ["WordPiece", changed("gpt2", (json) => (json.model.type = "WordPiece")), "'WordPiece'"],
    ["an id that is none", changed("gpt2", (json) => (json.model.vocab = { a: -1 })), "must be a token id"],
    ["a merge to nothing", changed("gpt2", (json) => (json.model.merges = [["zz", "qq"]])), "merge 0"],
    ["a suffix", changed("gpt2", (json) => (json.model.end_of_word_suffix = "</w>")), "end_of_word_suffix"],
    ["a normalizer", changed("gpt2", (json) => (json.normalizer = { type: "BertNormalizer" })), "'BertNormalizer'"],
    ["a pre-tokenizer", changed("gpt2", (json) => (json.pre_tokenizer = { type: "Whitespace" })), "'Whitespace'"],
    ["a decoder", changed("gpt2", (json) => (json.decoder = { type: "WordPiece" })), "'WordPiece'"],
    ["no decoder", changed("gpt2", (json) => (json.decoder = null)), "disagree"],
    ["a post-processor", changed("gpt2", (json) => (json.post_processor = { type: "Bert" })), "'Bert'"],
    [
      "a byte token missing",
      changed("llama2", (json) => Reflect.deleteProperty(json.model.vocab as object, "<0x41>")),
      "256 byte tokens",
    ],
    ["a GGUF model", gguf({ model: "bert" }), "'bert'"],
    ["a GGUF pre-tokenizer", gguf({ pre: "chameleon" }), "'chameleon'"],
    ["a GGUF merge", gguf({ merges: ["zz qq"] }), "Merge 0"],
    ["GGUF types", gguf({ tokenTypes: new Int32Array(3) }), "differ in length"],
    ["GGUF scores", gguf({ model: "llama", scores: undefined }), "differ in length"],
    ["a BOS beyond the vocabulary", gguf({ addBos: true, bosTokenId: 99_999 }), "99999"],
    ["GGUF without BOS", gguf({ addBos: true, bosTokenId: undefined }), "bos_token_id"],
  ];
  test.each(cases)("%s", (_, source, message) => {
    expect(() => defineTokenizer(source)).toThrow(TokenizerFormatError);
    expect(() => defineTokenizer(source)).toThrow(message);
  });
});

test("merges written as strings are the merges written as pairs", () => {
  const asStrings = changed("llama3", (json) => {
    json.model.merges = (json.model.merges as string[][]).map((pair) => pair.join(" "));
  });
  expect(defineTokenizer(asStrings)).toEqual(defineTokenizer(sourceOf("llama3")));
});

describe("tokenizer_config.json", () => {
  const encode = (config: object) => [
    ...new BpeTokenizer(defineTokenizer(changed("llama2", () => {}, config)), []).encode("the", true),
  ];
  const plain = encode({});

  test("of a Llama class says whether BOS and EOS are added", () => {
    expect(plain[0]).toBe(1);
    const named = { tokenizer_class: "LlamaTokenizer", bos_token: "<s>", eos_token: { content: "</s>" } };
    expect(encode({ ...named, add_bos_token: false })).toEqual(plain.slice(1));
    expect(encode({ ...named, add_eos_token: true })).toEqual([...plain, 2]);
    expect(encode(named)).toEqual(plain);
  });

  test("of another class does not", () => {
    expect(encode({ tokenizer_class: "PreTrainedTokenizerFast", add_bos_token: false })).toEqual(plain);
  });

  test("names the tokens that templates use", () => {
    const source = changed("llama2", () => {}, { bos_token: "<s>", eos_token: { content: "</s>" }, pad_token: null });
    const definition = defineTokenizer(source);
    expect(definition.templateTokens).toEqual({ bos_token: "<s>", eos_token: "</s>" });
    expect(definition.bosTokenId).toBe(1);
  });
});

test("a ByteLevel pre-tokenizer with add_prefix_space begins every text with a space", () => {
  const source = changed("gpt2", (json) => ((json.pre_tokenizer as Record<string, unknown>).add_prefix_space = true));
  const tokenizer = new BpeTokenizer(defineTokenizer(source), []);
  expect(tokenizer.encode("the", false)).toEqual(tokenizer.encode(" the", false));
});
