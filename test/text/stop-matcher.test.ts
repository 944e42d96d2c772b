import { describe, expect, test } from "bun:test";
import { StopMatcher } from "../../src/text/stop-matcher.ts";
import { StopStrings } from "../../src/text/stop-strings.ts";
import { cpuMs } from "../loop/turn-sampler.ts";
import { seeded } from "./sources.ts";

/** The whole-text definition: the stop string that ends first; of two that end together, the longer. */
function naive(text: string, stops: readonly string[], include: boolean): { text: string; stop: string | undefined } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length)[0];
    if (found !== undefined) return { text: text.slice(0, include ? end : end - found.length), stop: found };
  }
  return { text, stop: undefined };
}

function feed(parts: readonly string[], stops: readonly string[], include: boolean) {
  const matcher = new StopMatcher(new StopStrings(stops), include);
  const out = parts.map((part) => matcher.push(part));
  return { out, text: out.join("") + matcher.flush(), stop: matcher.stop };
}

test("any cut of a random text gives what searching the whole text gives", () => {
  const random = seeded(11);
  const pick = (n: number) => Math.floor(random() * n);
  const word = (length: number) => Array.from({ length }, () => ["a", "b", "\n", "😀"][pick(4)]!).join("");
  for (let round = 0; round < 4000; round++) {
    const stops = Array.from({ length: 1 + pick(4) }, () => word(1 + pick(5)));
    const text = word(pick(30));
    const parts: string[] = [];
    for (let at = 0; at < text.length; ) {
      const length = 1 + pick(5);
      parts.push(text.slice(at, at + length));
      at += length;
    }
    const include = round % 2 === 0;
    const { text: got, stop } = feed(parts, stops, include);
    expect({ text: got, stop }).toEqual(naive(text, stops, include));
  }
});

test("nothing that later turns out to be part of a stop string is let through", () => {
  const random = seeded(12);
  for (let round = 0; round < 2000; round++) {
    const text = Array.from({ length: 25 }, () => "ab"[Math.floor(random() * 2)]).join("");
    const stops = ["aab", "babb", "abababa"];
    const matcher = new StopMatcher(new StopStrings(stops), false);
    let sent = "";
    for (const character of text) sent += matcher.push(character);
    const whole = naive(text, stops, false);
    expect(whole.text.startsWith(sent)).toBe(true);
    if (matcher.stop !== undefined) expect(sent).toBe(whole.text);
  }
});

test("stop strings completed while none may stop are let through; those begun then can still end the text", () => {
  const random = seeded(14);
  const pick = (n: number) => Math.floor(random() * n);
  const word = (length: number) => Array.from({ length }, () => "ab"[pick(2)]!).join("");
  for (let round = 0; round < 1500; round++) {
    const stops = Array.from({ length: 1 + pick(3) }, () => word(1 + pick(5)));
    const parts = Array.from({ length: 12 }, () => word(pick(4)));
    const protectedParts = pick(13);
    const include = round % 2 === 0;
    const matcher = new StopMatcher(new StopStrings(stops), include);
    let sent = "";
    for (const [i, part] of parts.entries()) sent += matcher.push(part, i >= protectedParts);
    sent += matcher.flush();
    const text = parts.join("");
    let expected = { text, stop: undefined as string | undefined };
    for (let end = parts.slice(0, protectedParts).join("").length + 1; end <= text.length; end++) {
      const [found] = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length);
      if (found === undefined) continue;
      expected = { text: text.slice(0, include ? end : end - found.length), stop: found };
      break;
    }
    expect({ text: sent, stop: matcher.stop }).toEqual(expected);
  }
});

test("a stop string that is let through is not held back", () => {
  const matcher = new StopMatcher(new StopStrings(["abc", "ab!"]), false);
  expect(matcher.push("xab", false)).toBe("x");
  expect(matcher.push("c", false)).toBe("abc");
});

test("the longest stop strings, alike and overlapping, find what searching the whole text finds", () => {
  const random = seeded(13);
  const runs = (length: number) => {
    let text = "";
    while (text.length < length) text += "ab"[Math.floor(random() * 2)]!.repeat(1 + Math.floor(random() * 40));
    return text.slice(0, length);
  };
  for (let round = 0; round < 60; round++) {
    const text = runs(600);
    const stops = Array.from({ length: 16 }, (_, i) => {
      const at = Math.floor(random() * 300);
      // Half of them stand in the text, the others all but their last unit.
      return text.slice(at, at + 40 + i * 14) + (i % 2 === 0 ? "c" : "");
    });
    expect(feed(text.match(/.{1,7}/gs)!, stops, false)).toMatchObject(naive(text, stops, false));
  }
});

test("choices that share their stop strings do not see each other's text", () => {
  const shared = new StopStrings(["abc"]);
  const [first, second] = [new StopMatcher(shared, false), new StopMatcher(shared, false)];
  expect([first.push("xab"), second.push("c"), first.push("c"), second.push("ab")]).toEqual(["x", "c", "", ""]);
  expect([first.stop, second.stop, second.flush()]).toEqual(["abc", undefined, "ab"]);
});

test("16 stop strings of 256 units cost a text no more than one does", () => {
  const stops = Array.from({ length: 16 }, (_, i) => `${"a".repeat(255 - i)}b`);
  const text = "a".repeat(500_000);
  const cost = (count: number) => {
    const matcher = new StopMatcher(new StopStrings(stops.slice(0, count)), false);
    const before = cpuMs();
    for (let at = 0; at < text.length; at += 5) matcher.push(text.slice(at, at + 5));
    return cpuMs() - before;
  };
  const least = (count: number) => Math.min(...Array.from({ length: 3 }, () => cost(count)));
  least(16);
  // One by one they would cost 16 times as much.
  expect(least(16)).toBeLessThan(5 * least(1) + 20);
});

describe("by example", () => {
  test("text that cannot begin a stop string passes at once", () => {
    expect(feed(["Hello ", "wor", "ld\n", "\nUs", "er: x"], ["\n\nUser:"], false)).toEqual({
      out: ["Hello ", "wor", "ld", "", ""],
      text: "Hello world",
      stop: "\n\nUser:",
    });
  });

  test("a stop string only begun is let through at the end", () => {
    expect(feed(["a", "\n", "\n"], ["\n\n\n"], false)).toEqual({ out: ["a", "", ""], text: "a\n\n", stop: undefined });
  });

  test("after a stop nothing more comes", () => {
    expect(feed(["xENDy", "z"], ["END"], true)).toEqual({ out: ["xEND", ""], text: "xEND", stop: "END" });
  });

  test("the first to end wins; of two that end together, the longer", () => {
    expect(feed(["abcd"], ["abcd", "bc"], false)).toMatchObject({ text: "a", stop: "bc" });
    expect(feed(["abc"], ["bc", "abc"], false)).toMatchObject({ text: "", stop: "abc" });
  });

  test("no stop strings: text passes as it is", () => {
    expect(feed(["a", "b"], [], false)).toEqual({ out: ["a", "b"], text: "ab", stop: undefined });
  });

  test("a lone surrogate in a stop string matches U+FFFD, never half of a character", () => {
    expect(feed(["😀"], ["\ud83d"], false)).toMatchObject({ text: "😀", stop: undefined });
    expect(feed(["a\ufffdb"], ["\ud83d"], false)).toMatchObject({ text: "a", stop: "\ufffd" });
  });
});
