import { describe, expect, test } from "bun:test";
import { makeRng } from "../../../src/bench/stats/rng.ts";
import { parseLengths, sampleLength } from "../../../src/bench/workload/lengths.ts";
import { WARMUP_CELL } from "../../../src/bench/workload/session.ts";
import { shareGptWorkload } from "../../../src/bench/workload/sharegpt.ts";
import { syntheticWorkload } from "../../../src/bench/workload/synthetic.ts";
import { parseTrace, traceWorkload } from "../../../src/bench/workload/trace.ts";
import { WORDS } from "../../../src/bench/workload/words.ts";

const scale = { words: WORDS, overhead: 4, source: "tokenize" } as const;
/** Tokens of a prompt where the lead and the template are `overhead` tokens and each word is one. */
const tokensOf = (content: string): number => scale.overhead + content.split(" ").length - 1;

describe("lengths", () => {
  const draw = (spec: string, count: number): number[] => {
    const rng = makeRng(9);
    return Array.from({ length: count }, () => sampleLength(parseLengths(spec, "--x"), rng));
  };

  test("fixed and uniform", () => {
    expect(draw("77", 3)).toEqual([77, 77, 77]);
    const uniform = draw("uniform:10-13", 4000);
    for (const value of [10, 11, 12, 13])
      expect(Math.abs(uniform.filter((drawn) => drawn === value).length - 1000)).toBeLessThan(120);
  });

  test("log-normal has its median and sigma, and keeps its bounds", () => {
    const drawn = draw("lognormal:200,0.5,100000", 20_000).sort((a, b) => a - b);
    expect(drawn[10_000]! / 200).toBeCloseTo(1, 1);
    // One sigma above the median: the 84.13th percentile.
    expect(drawn[16_827]! / (200 * Math.exp(0.5))).toBeCloseTo(1, 1);
    const clipped = draw("lognormal:100,2,150", 1000);
    expect(Math.max(...clipped)).toBe(150);
    expect(Math.min(...clipped)).toBeGreaterThanOrEqual(1);
  });

  test("what is no distribution is refused by name", () => {
    for (const wrong of ["", "0", "-1", "1.5", "uniform:9-2", "uniform:0-2", "lognormal:5", "poisson:3"])
      expect(() => parseLengths(wrong, "--input-tokens")).toThrow("--input-tokens");
  });
});

describe("synthetic prompts", () => {
  const options = {
    input: { kind: "uniform", min: 20, max: 60 },
    output: { kind: "fixed", tokens: 8 },
    sharedPrefixTokens: 0,
    prefixGroups: 1,
    turns: 1,
    seed: 1,
  } as const;

  test("are as long as asked, repeat by seed, and differ from each other", () => {
    const workload = syntheticWorkload(options);
    const seen = new Set<string>();
    for (const cell of [0, 1, WARMUP_CELL])
      for (let index = 0; index < 50; index++) {
        const session = workload.session(cell, index, scale);
        expect(session).toEqual(syntheticWorkload(options).session(cell, index, scale));
        const { content, maxTokens } = session.turns[0]!;
        expect(tokensOf(content)).toBeGreaterThanOrEqual(20);
        expect(tokensOf(content)).toBeLessThanOrEqual(60);
        expect(maxTokens).toBe(8);
        // Beginnings differ already, so that a prefix cache finds nothing.
        seen.add(content.split(" ").slice(0, 8).join(" "));
      }
    expect(seen.size).toBe(150);
    expect(syntheticWorkload({ ...options, seed: 2 }).session(0, 0, scale)).not.toEqual(workload.session(0, 0, scale));
  });

  test("share exactly the prefix, by group", () => {
    const workload = syntheticWorkload({ ...options, sharedPrefixTokens: 30, prefixGroups: 2 });
    const words = (index: number): string[] => workload.session(0, index, scale).turns[0]!.content.split(" ").slice(1);
    const shared = (a: string[], b: string[]): number => {
      const first = a.findIndex((word, i) => word !== b[i]);
      return first < 0 ? a.length : first;
    };
    // A random word may agree by chance, so the shared part may be a little longer.
    expect(shared(words(0), words(2))).toBeGreaterThanOrEqual(30);
    expect(shared(words(0), words(2))).toBeLessThan(34);
    expect(shared(words(0), words(1))).toBeLessThan(4);
  });

  test("conversations have their turns, the prefix only in the first", () => {
    const workload = syntheticWorkload({ ...options, sharedPrefixTokens: 100, turns: 3 });
    const { turns } = workload.session(0, 0, scale);
    expect(turns).toHaveLength(3);
    expect(tokensOf(turns[0]!.content)).toBeGreaterThan(100);
    expect(tokensOf(turns[1]!.content)).toBeLessThanOrEqual(60);
    expect(workload.multiTurn).toBe(true);
  });
});

describe("traces", () => {
  const mooncake = [
    { timestamp: 900, input_length: 1100, output_length: 5, hash_ids: [1, 2, 9] },
    { timestamp: 100, input_length: 1200, output_length: 7, hash_ids: [1, 2, 3] },
    { timestamp: 300, input_length: 40, output_length: 9, hash_ids: [] },
  ];
  const text = mooncake.map((entry) => JSON.stringify(entry)).join("\n");

  test("Mooncake: in order of time, with its lengths and its sharing", () => {
    const workload = traceWorkload(parseTrace(text), 1);
    expect(workload.timestampsMs).toEqual([100, 300, 900]);
    expect(workload.distinct).toBe(3);
    const prompts = [0, 1, 2].map((index) => workload.session(0, index, scale).turns[0]!);
    expect(prompts.map(({ content }) => tokensOf(content))).toEqual([1200, 40, 1100]);
    expect(prompts.map(({ maxTokens }) => maxTokens)).toEqual([7, 9, 5]);
    const [first, , last] = prompts.map(({ content }) => content.split(" "));
    // Two blocks of 512 tokens are the same, the third is not.
    expect(first!.slice(0, 1025)).toEqual(last!.slice(0, 1025));
    expect(first!.slice(1025, 1060)).not.toEqual(last!.slice(1025, 1060));
  });

  test("Azure: CSV with fractional seconds", () => {
    const csv =
      "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,110,27\n";
    const [first, second] = parseTrace(csv);
    expect(second!.timestampMs - first!.timestampMs).toBe(52);
    expect(first).toMatchObject({ inputTokens: 4808, outputTokens: 10, hashIds: [] });
  });

  test("a broken line is named", () => {
    expect(() => parseTrace(`${text}\n{"timestamp": 1}`)).toThrow("line 4");
    expect(() => parseTrace(`${text}\n{broken`)).toThrow("line 4");
    expect(() => parseTrace("A,B,C\nno date,1,2\n")).toThrow("line 2");
    expect(() => parseTrace("")).toThrow("no entries");
  });
});

describe("ShareGPT", () => {
  const says = (from: string, value: string) => ({ from, value });
  const long = (text: string): string => text.repeat(20);
  const dataset = JSON.stringify([
    {
      conversations: [
        says("human", long("abcd")),
        says("gpt", long("efgh")),
        says("human", long("ij")),
        says("gpt", long("kl")),
      ],
    },
    { conversations: [says("human", "hi"), says("gpt", long("too short a question"))] },
    {
      messages: [
        { role: "user", content: long("mnop") },
        { role: "assistant", content: long("q") },
      ],
    },
    { conversations: [says("system", long("x")), says("human", long("rs")), says("gpt", long("tuvw"))] },
    {},
  ]);

  test("takes usable exchanges, with reply lengths by estimate", () => {
    const workload = shareGptWorkload(dataset, { turns: 2, seed: 1 });
    expect(workload.distinct).toBe(3);
    const sessions = [0, 1, 2].map((index) => workload.session(0, index, scale).turns);
    const turns = sessions.flat().map(({ content, maxTokens }) => `${content.slice(0, 4)} ${maxTokens}`);
    expect(turns.sort()).toEqual(["abcd 20", "ijij 10", "mnop 5", "rsrs 20"]);
    // Then it begins again.
    expect(workload.session(0, 3, scale).turns).toEqual(sessions[0]!);
  });

  test("what is no dataset is refused", () => {
    expect(() => shareGptWorkload("{", { turns: 1, seed: 1 })).toThrow("not JSON");
    expect(() => shareGptWorkload("{}", { turns: 1, seed: 1 })).toThrow("not a list");
    expect(() => shareGptWorkload("[{}]", { turns: 1, seed: 1 })).toThrow("no conversation");
  });
});
