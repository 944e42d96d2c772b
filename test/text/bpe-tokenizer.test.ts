import { describe, expect, test } from "bun:test";
import { BpeTokenizer } from "../../src/text/bpe-tokenizer.ts";
import { defineTokenizer } from "../../src/text/define-tokenizer.ts";
import { asGguf, corpus, readInt32Tensor, readJson, sourceOf, tokenizerOf } from "./sources.ts";

interface Reference {
  texts: Record<string, { text: string }>;
  chats: Array<{ rendered: string; ids: number[]; greedy: number[]; text: string }>;
}
const reference = readJson<Reference>("test/fixtures/reference/reference.json");

/** Texts whose ids differ, with both, so that a failure shows what went wrong. */
function wrongIds(tokenizer: BpeTokenizer, name: string): unknown[] {
  const wrong: unknown[] = [];
  corpus.texts.forEach((text, i) => {
    const ids = [...tokenizer.encode(text, true)];
    const expected = corpus.expected[name]!.ids[i]!;
    if (!Bun.deepEquals(ids, expected)) wrong.push({ text, ids, expected });
  });
  return wrong;
}

describe.each(Object.keys(corpus.expected))("%s", (name) => {
  test("ids equal those of Hugging Face's tokenizers", () => {
    expect(wrongIds(tokenizerOf(name), name)).toEqual([]);
  });

  test("decoding equals theirs", () => {
    const tokenizer = tokenizerOf(name);
    const { ids, decoded } = corpus.expected[name]!;
    const wrong: unknown[] = [];
    corpus.texts.forEach((text, i) => {
      const expected = decoded[i] ?? text.toWellFormed();
      const got = tokenizer.decode(ids[i]!, true);
      if (got !== expected) wrong.push({ text, got, expected });
    });
    expect(wrong).toEqual([]);
  });
});

describe("GGUF metadata", () => {
  test.each([
    ["gpt2", "gpt2", "gpt-2"],
    ["llama3", "gpt2", "llama-bpe"],
    ["qwen2", "gpt2", "qwen2"],
    ["llama2", "llama", undefined],
  ])("%s as a %s model gives the ids of tokenizer.json", (name, model, pre) => {
    const tokenizer = new BpeTokenizer(defineTokenizer(asGguf(name, model, pre)), []);
    expect(wrongIds(tokenizer, name)).toEqual([]);
  });
});

describe("the bundled model", () => {
  test.each(Object.keys(reference.texts))("reference text %s", (name) => {
    const expected = readInt32Tensor("test/fixtures/reference/reference.safetensors", `${name}.ids`);
    expect(tokenizerOf("smollm").encode(reference.texts[name]!.text, true)).toEqual(expected);
  });

  test("reference chats, their rendered text and their answers", () => {
    const tokenizer = tokenizerOf("smollm");
    for (const chat of reference.chats) {
      expect([...tokenizer.encode(chat.rendered, false)]).toEqual(chat.ids);
      expect(tokenizer.decode(chat.ids, false)).toBe(chat.rendered);
      expect(tokenizer.decode(chat.greedy, true)).toBe(chat.text);
    }
  });

  test("digits stand alone, before GPT-2's expression", () => {
    const tokenizer = tokenizerOf("smollm");
    const pieces = (text: string) => [...tokenizer.encode(text, false)].map((id) => tokenizer.decode([id], false));
    expect(pieces("\n\n1")).toEqual(["\n\n", "1"]);
    expect(pieces("2024")).toEqual(["2", "0", "2", "4"]);
    expect(tokenizer.encode(" ½", false)[0]).toBe(tokenizer.encode(" ", false)[0]);
  });
});

test("long texts are cut where no token changes", () => {
  const sentence = "The harbour master kept two books: 12 of them, it's said. 你好 世界!  \n\n";
  for (const name of ["smollm", "llama3", "llama2", "mistral"]) {
    const tokenizer = tokenizerOf(name);
    // 300,000 characters, with and without cuts.
    const lines = Array.from({ length: 4500 }, (_, i) => `${i} ${sentence}`);
    const whole = tokenizer.encode(lines.join(""), false);
    expect(tokenizer.decode(whole, false)).toBe(lines.join(""));
    const uncut = defineTokenizer(sourceOf(name));
    const plain = new BpeTokenizer({ ...uncut, encoder: { ...uncut.encoder, cutBefore: undefined } }, []);
    expect(whole).toEqual(plain.encode(lines.join(""), false));
  }
});

test("ids outside the vocabulary have no bytes", () => {
  const tokenizer = tokenizerOf("smollm");
  for (const id of [-1, tokenizer.vocabSize, 1 << 30]) {
    expect(tokenizer.tokenBytes(id).length).toBe(0);
    expect(tokenizer.tokenText(id)).toBe("");
    expect(tokenizer.isSpecial(id)).toBe(false);
  }
});

test("a token has a text of its own exactly where its bytes are whole characters", () => {
  for (const name of ["smollm", "llama2"]) {
    const tokenizer = tokenizerOf(name);
    let partial = 0;
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      const bytes = Buffer.from(tokenizer.tokenBytes(id));
      const text = bytes.toString("utf8");
      const whole = Buffer.from(text).equals(bytes);
      if (!whole) partial++;
      // Asked twice: the second answer is the one that was kept.
      for (let i = 0; i < 2; i++) expect(tokenizer.tokenText(id)).toBe(whole ? text : undefined);
    }
    expect(partial).toBeGreaterThan(100);
  }
});
