import { expect, test } from "bun:test";
import { StopStrings } from "../../src/text/stop-strings.ts";
import { TextAssembler, type TextAssemblerOptions } from "../../src/text/text-assembler.ts";
import { corpus, seeded, tokenizerOf } from "./sources.ts";

const plain: TextAssemblerOptions = {
  stop: new StopStrings([]),
  includeStopStrInOutput: false,
  skipSpecialTokens: true,
};

/** Text sent up to and with the last token, and the stop found. */
function assemble(name: string, ids: ArrayLike<number>, options: TextAssemblerOptions) {
  const assembler = new TextAssembler(tokenizerOf(name), options);
  let text = "";
  for (let i = 0; i < ids.length; i++) text += assembler.push([ids[i]!]);
  return { text: text + assembler.flush(), stop: assembler.stop };
}

test.each(Object.keys(corpus.expected))("%s: without stop strings the text is what decoding gives", (name) => {
  const tokenizer = tokenizerOf(name);
  const random = seeded(3);
  for (let round = 0; round < 100; round++) {
    const ids = Array.from({ length: 30 }, () => Math.floor(random() * tokenizer.vocabSize));
    expect(assemble(name, ids, plain)).toEqual({ text: tokenizer.decode(ids, true), stop: undefined });
  }
});

test("a stop string across tokens ends the text before it", () => {
  const ids = tokenizerOf("smollm").encode("One line.\n\nUser: and more", false);
  const options = { ...plain, stop: new StopStrings(["\nUser:", "never"]) };
  expect(assemble("smollm", ids, options)).toEqual({ text: "One line.\n", stop: "\nUser:" });
  expect(assemble("smollm", ids, { ...options, includeStopStrInOutput: true }).text).toBe("One line.\n\nUser:");
});

test("several tokens at once: `used` counts those up to the stop string's last", () => {
  const tokenizer = tokenizerOf("smollm");
  const ids = tokenizer.encode("alpha beta gamma delta", false);
  const before = tokenizer.encode("alpha beta", false).length;
  const assembler = new TextAssembler(tokenizer, { ...plain, stop: new StopStrings([" beta"]) });
  expect([assembler.push(ids), assembler.stop, assembler.used]).toEqual(["alpha", " beta", before]);
  expect([assembler.push(ids), assembler.stop, assembler.used]).toEqual(["", " beta", 0]);
  expect(assembler.flush()).toBe("");
  const unstopped = new TextAssembler(tokenizer, plain);
  expect([unstopped.push(ids, 2), unstopped.used]).toEqual(["alpha beta", 2]);
  expect([unstopped.push(ids), unstopped.used]).toEqual(["alpha beta gamma delta", ids.length]);
});

test("a stream restored after any token goes on as the first would have", () => {
  const tokenizer = tokenizerOf("smollm");
  const ids = tokenizer.encode("Ends 👨\u200d👩\u200d👧 soon: st-op here", false);
  const options = { ...plain, stop: new StopStrings(["st-op"]) };
  const whole = assemble("smollm", ids, options);
  for (let cut = 0; cut <= ids.length; cut++) {
    const first = new TextAssembler(tokenizer, options);
    const sent = first.push(ids.subarray(0, cut));
    const second = new TextAssembler(tokenizer, options);
    second.restore(ids.subarray(0, cut));
    const rest = second.push(ids.subarray(cut));
    expect(sent + rest + second.flush()).toBe(whole.text);
    expect(second.stop).toBe("st-op");
  }
});

test("a stop string ends the text with a token after min_tokens at the earliest, restored or not", () => {
  const tokenizer = tokenizerOf("smollm");
  const ids = tokenizer.encode(" stop go stop go stop go stop", false);
  const pieces = Array.from(ids, (id) => tokenizer.tokenText(id)!);
  const stop = " stop";
  for (let minTokens = 0; minTokens <= ids.length; minTokens++) {
    const options = { ...plain, stop: new StopStrings([stop]), minTokens };
    const at = pieces.findIndex((piece, i) => i >= minTokens && piece === stop);
    const expected = at < 0 ? { text: pieces.join(""), stop: undefined } : { text: pieces.slice(0, at).join(""), stop };
    expect(assemble("smollm", ids, options)).toEqual(expected);
    const cut = Math.max(0, at < 0 ? ids.length : at);
    const restored = new TextAssembler(tokenizer, options);
    restored.restore(ids.subarray(0, cut));
    restored.push(ids.subarray(cut));
    expect([restored.stop, restored.used]).toEqual([expected.stop, at < 0 ? 0 : 1]);
  }
});

test("special tokens are left out or kept as asked", () => {
  const ids = tokenizerOf("smollm").encode("hi<|im_end|>\nthere", false);
  expect(assemble("smollm", ids, plain).text).toBe("hi\nthere");
  expect(assemble("smollm", ids, { ...plain, skipSpecialTokens: false }).text).toBe("hi<|im_end|>\nthere");
});

test("what continues a text keeps the space that a text of its own would lose", () => {
  const ids = tokenizerOf("llama2").encode("the end", false);
  expect(assemble("llama2", ids, plain).text).toBe("the end");
  expect(assemble("llama2", ids, { ...plain, continuesText: true }).text).toBe(" the end");
});
