import { expect, test } from "bun:test";
import { DEFAULT_SAMPLING } from "../../../src/core/sampling-params.ts";
import { type EchoedPrompt, echoOfIds, echoOfText } from "../../../src/http/openai/echoed-prompt.ts";
import { CompletionLogprobs } from "../../../src/http/openai/logprobs.ts";
import { StopStrings } from "../../../src/text/stop-strings.ts";
import { TextAssembler } from "../../../src/text/text-assembler.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { makeRequest } from "../../replica/fixture.ts";
import { corpus, seeded, tokenizerOf } from "../../text/sources.ts";
import { BOS, byteTokenizer } from "../fake-text-service.ts";
import { events, TestServer } from "../test-server.ts";

const NAMES = Object.keys(corpus.expected);

/** The parts of a text between the offsets, in characters: each is what begins in one token. */
function parts(text: string, offsets: readonly number[]): string[] {
  const characters = [...text];
  return offsets.map((offset, i) => characters.slice(offset, offsets[i + 1] ?? characters.length).join(""));
}

function offsetsOf(logprobs: CompletionLogprobs, ids: readonly number[]): number[] {
  return JSON.parse([...logprobs.json(ids)].join("")).text_offset as number[];
}

/** What the replica makes of the output, in pieces of random length, with the offsets told beside them. */
function run(
  tokenizer: Tokenizer,
  prompt: Int32Array,
  output: number[],
  skip: boolean,
  echo: EchoedPrompt | undefined,
) {
  const request = makeRequest(prompt, { ...DEFAULT_SAMPLING, skipSpecialTokens: skip });
  const logprobs = new CompletionLogprobs(tokenizer, request, echo);
  const assembler = new TextAssembler(tokenizer, {
    ...request.sampling,
    stop: new StopStrings([]),
    continuesText: !tokenizer.isSpecial(prompt[prompt.length - 1]!),
  });
  const offsets = echo ? offsetsOf(logprobs, [...prompt]) : [];
  let text = echo?.text ?? "";
  for (let at = 0; at < output.length; at += 3) {
    const some = output.slice(at, at + 3);
    text += assembler.push(some);
    offsets.push(...offsetsOf(logprobs, some));
  }
  return { text: text + assembler.flush(), offsets };
}

test.each(NAMES)(
  "%s: the parts between the offsets are the text, whatever the tokens",
  (name) => {
    const tokenizer = tokenizerOf(name);
    const random = seeded(31);
    const anyIds = (length: number) =>
      Array.from({ length }, () => {
        const id = Math.floor(random() * tokenizer.vocabSize);
        // Bytes of characters and special tokens lie at the ends of a vocabulary.
        return random() < 0.4 ? id % Math.min(tokenizer.vocabSize, 300) : id;
      });
    for (let round = 0; round < 24; round++) {
      const prompt = Int32Array.from(anyIds(1 + (round % 9)));
      const output = anyIds(12);
      const skip = round % 2 === 0;
      for (const echo of [undefined, echoOfIds(tokenizer, prompt, skip)]) {
        const { text, offsets } = run(tokenizer, prompt, output, skip, echo);
        expect(parts(text, offsets).join("")).toBe(text);
        expect(offsets[0]).toBe(0);
        expect(offsets.every((offset, i) => i === 0 || offset >= offsets[i - 1]!)).toBe(true);
        // A token of whole characters alone has just these.
        const ids = echo ? [...prompt, ...output] : output;
        parts(text, offsets).forEach((part, i) => {
          const own = tokenizer.tokenText(ids[i]!);
          const hidden = skip && tokenizer.isSpecial(ids[i]!);
          const first = i === 0 || i === ids.length - output.length || offsets[i] === 0;
          if (hidden) expect(part).toBe("");
          else if (own !== undefined && !first) expect(part).toBe(own);
        });
      }
      const whole = echoOfIds(tokenizer, prompt, skip);
      expect(whole.text).toBe(tokenizer.decode(prompt, skip));
    }
  },
  30_000,
);

test.each(NAMES)("%s: an echoed text is itself, special tokens it writes out included", (name) => {
  const tokenizer = tokenizerOf(name);
  const specials = Array.from({ length: tokenizer.vocabSize }, (_, id) => id).filter((id) => tokenizer.isSpecial(id));
  const written = specials.slice(0, 3).map((id) => tokenizer.tokenText(id)!);
  const texts = [
    "A B C",
    "Zwölf Boxkämpfer 👩\u200d👧 日本語",
    ...written.map((special) => `A${special}B C`),
    ...written,
  ];
  for (const text of texts) {
    for (const addSpecialTokens of [true, false]) {
      const ids = tokenizer.encode(text, addSpecialTokens);
      const echo = echoOfText(tokenizer, ids, text);
      // Tokenizers that mark words add blanks behind special tokens: there the echo is what the tokens say.
      if (!tokenizer.leadingSpacesStripped) expect(echo.text).toBe(text.normalize("NFC") === text ? text : echo.text);
      let at = 0;
      const offsets = Array.from(echo.characters, (count) => (at += count) - count);
      expect(parts(echo.text, offsets).join("")).toBe(echo.text);
      expect(at).toBe([...echo.text].length);
    }
  }
});

test("what a tokenizer changes is echoed as it reads it", () => {
  const text = "e\u0301 A<|im_end|>";
  const changing: Tokenizer = {
    ...byteTokenizer,
    encode: (source, add) => byteTokenizer.encode(source.normalize("NFC"), add),
  };
  const echo = echoOfText(changing, changing.encode(text, true), text);
  expect(echo.text).toBe(text.normalize("NFC"));
  expect(echo.characters.reduce((sum, count) => sum + count)).toBe([...echo.text].length);
});

test("over HTTP, whole and streamed: special tokens in the prompt, shown or not, and characters of several tokens", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["é", "", "b"].filter((piece) => piece !== "") });
  const special = [BOS, 65, BOS, 66];
  for (const fields of [
    { prompt: "A€B", echo: true },
    { prompt: special, echo: true },
    { prompt: special, echo: true, skip_special_tokens: false },
    { prompt: [0xe2, 0x82], echo: true },
    { prompt: "A€B" },
  ]) {
    const body = { ...fields, logprobs: 0 };
    // biome-ignore lint/suspicious/noExplicitAny: looked into below.
    const [choice] = ((await (await server.complete(body)).json()) as any).choices;
    const { tokens, text_offset } = choice.logprobs;
    expect(parts(choice.text, text_offset).join("")).toBe(choice.text);
    const streamed = (await events(await server.complete({ ...body, stream: true }))).slice(0, -1);
    expect(streamed.map((chunk) => chunk.choices[0].text).join("")).toBe(choice.text);
    expect(streamed.flatMap((chunk) => chunk.choices[0].logprobs?.text_offset ?? [])).toEqual(text_offset);
    expect(text_offset.length).toBe(tokens.length);
  }
});

test("alternatives: the chosen token first, then by rank; tokens that read alike once, names that objects treat apart as any", () => {
  const texts = ["19", "__proto__", "1970", "19", "a", "2"];
  const tokenizer: Tokenizer = { ...byteTokenizer, tokenText: (id) => texts[id] ?? "" };
  const logprobs = new CompletionLogprobs(tokenizer, makeRequest([4], {}), undefined);
  const top = [2, 3, 0, 1, 5].map((tokenId, i) => ({ tokenId, logprob: -i }));
  const json = [...logprobs.json([{ tokenId: 1, logprob: -3, rank: 4, top }])].join("");
  expect(json.replace(":-0", ":0")).toContain('"top_logprobs":[{"__proto__":-3,"1970":0,"19":-1,"2":-4}]');
});
