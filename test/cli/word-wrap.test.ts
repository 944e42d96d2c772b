import { expect, test } from "bun:test";
import { WordWrap } from "../../src/cli/word-wrap.ts";

/** The text wrapped, given in pieces of `size` characters. */
function wrapped(text: string, width: number, size = text.length): string {
  const wrap = new WordWrap(() => width);
  let out = "";
  const chars = [...text];
  for (let i = 0; i < chars.length; i += size) out += wrap.push(chars.slice(i, i + size).join(""));
  return out + wrap.flush();
}

const STORY = "The quick brown fox jumps over the lazy dog.\n\n  - an item that is rather long\n\tand after a tab";
const WIDE = "日本語の文章は単語の間に空白がない。それでも折り返す。emoji 👩‍👩‍👧‍👦👍🏽 too, e\u0301te\u0301 and ﬁn";
const CODE =
  "Look at this code here:\n```ts\nconst aVeryLongName = anotherLongName(1, 2, 3);\n```\nand this is after the code";

test.each([STORY, WIDE, CODE])("the same lines whatever the pieces: %#", (text) => {
  for (const width of [10, 17, 40])
    for (const size of [1, 2, 3, 7]) expect(wrapped(text, width, size)).toBe(wrapped(text, width));
});

test("no line is wider than the terminal, and only breaks are added", () => {
  for (const text of [STORY, WIDE])
    for (const width of [12, 20, 33]) {
      const lines = wrapped(text, width).split("\n");
      for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(width);
      expect(lines.join("").replaceAll(/\s/g, "")).toBe(text.replaceAll(/\s/g, ""));
    }
});

test("words are not cut, wide characters may be parted", () => {
  expect(wrapped("one two three", 8)).toBe("one two\nthree");
  expect(wrapped("日本語", 4)).toBe("日本\n語");
  expect(wrapped("a 👩‍👩‍👧‍👦👍🏽", 4)).toBe("a 👩‍👩‍👧‍👦\n👍🏽");
});

test("a word wider than the terminal comes as it is, on a line of its own", () => {
  expect(wrapped("see https://example.com/a/b/c now", 10)).toBe("see\nhttps://example.com/a/b/c\nnow");
});

test("code between fences keeps its lines", () => {
  const out = wrapped(CODE, 12);
  expect(out).toContain("\nconst aVeryLongName = anotherLongName(1, 2, 3);\n```\nand this is\nafter the\ncode");
});

test("words come out as soon as they are whole", () => {
  const wrap = new WordWrap(() => 20);
  expect(wrap.push("Hel")).toBe("");
  expect(wrap.push("lo ")).toBe("Hello");
  expect(wrap.push("you\n")).toBe(" you\n");
});

test("without a width nothing is broken", () => {
  expect(wrapped("word ".repeat(100), Number.POSITIVE_INFINITY)).toBe("word ".repeat(100).trimEnd());
});
