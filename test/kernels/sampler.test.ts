import { describe, expect, test } from "bun:test";
import type { SlotParams } from "../../src/backend/backend.ts";
import { opSample } from "./op-sample.ts";
import { generator, integer, normals, seed } from "./random.ts";
import { adjusted, distribution, logSoftmax, philox, uniform } from "./sampler-reference.ts";
import { GREEDY } from "./step.ts";

const random = generator(seed);
const PLAIN: SlotParams = { ...GREEDY, temperature: 1 };
const tokens = (count: number, vocab: number) =>
  Int32Array.from({ length: count }, () => integer(0, vocab - 1, random));

/** Parameters with about half of everything on. */
function anyParams(vocab: number): SlotParams {
  const maybe = <T>(on: T, off: T): T => (random() < 0.5 ? on : off);
  return {
    temperature: maybe(0.2 + 2 * random(), 1),
    topK: maybe(integer(1, Math.max(1, Math.floor(vocab / 2)), random), 0),
    topP: maybe(0.05 + 0.94 * random(), 1),
    minP: maybe(0.3 * random(), 0),
    repetitionPenalty: maybe(0.8 + 0.7 * random(), 1),
    frequencyPenalty: maybe(random() - 0.3, 0),
    presencePenalty: maybe(random() - 0.3, 0),
    seed: integer(0, 2 ** 40, random),
    minTokens: maybe(integer(0, 20, random), 0),
    stopIds: maybe([...tokens(2, vocab)], []),
    logitBias: maybe([[integer(0, vocab - 1, random), 4 * random() - 2] as const], []),
    promptTokens: tokens(integer(0, 30, random), vocab),
    outputTokens: tokens(integer(0, 30, random), vocab),
  };
}

/** The ids whose cumulative probability range holds u, with the neighbours that rounding could reach. */
function acceptable(p: Float64Array, u: number): number[] {
  const slack = 2e-5;
  const ids: number[] = [];
  let below = 0;
  for (const [id, probability] of p.entries()) {
    const above = below + probability;
    if (probability > 0 && u > below - slack && u < above + slack) ids.push(id);
    below = above;
  }
  return ids;
}

test("the reference generator gives the published numbers of Philox4x32-10", () => {
  const zero = philox([0n, 0n, 0n, 0n], [0n, 0n]);
  expect(zero).toEqual([0x6627e8d5n, 0xe169c58dn, 0xbc57ac4cn, 0x9b00dbd8n]);
  const ones = 0xffffffffn;
  expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276dn, 0x41c83b0en, 0xa20bc7c6n, 0x6d5451fdn]);
});

describe("the draw", () => {
  test(`is the inverse of the cumulative distribution at the slot's random number (seed ${seed})`, () => {
    for (let i = 0; i < 400; i++) {
      const vocab = integer(2, 3000, random);
      const params = anyParams(vocab);
      const logits = normals(vocab, random, 0.5 + 4 * random());
      const position = params.outputTokens.length;
      const { token } = opSample(logits, params, position);
      const expected = acceptable(distribution(logits, params, position), uniform(params.seed, position));
      expect(expected, `case ${i} of seed ${seed}: ${JSON.stringify(params)}`).toContain(token);
    }
  });

  test("follows the softmax: chi-square over 20,000 seeds", () => {
    const logits = Float32Array.from([1, 0, -1, 2, 0.5, -0.5, 1.5, -2]);
    for (const params of [
      PLAIN,
      { ...PLAIN, temperature: 2, topK: 6 },
      { ...PLAIN, topP: 0.8 },
      { ...PLAIN, minP: 0.1 },
    ]) {
      const expected = distribution(logits, params, 3);
      const counts = new Array<number>(logits.length).fill(0);
      const draws = 20_000;
      for (let i = 0; i < draws; i++) counts[opSample(logits, { ...params, seed: i }, 3).token]!++;
      let chiSquare = 0;
      for (const [id, p] of expected.entries()) {
        if (p === 0) expect(counts[id]).toBe(0);
        else chiSquare += (counts[id]! - draws * p) ** 2 / (draws * p);
      }
      expect(chiSquare).toBeLessThan(30); // 7 degrees of freedom: 24.3 is the 99.9th percentile
    }
  });

  test("depends on seed and position alone", () => {
    const logits = normals(500, random);
    const at = (seedOf: number, position: number) => opSample(logits, { ...PLAIN, seed: seedOf }, position).token;
    expect(at(7, 3)).toBe(at(7, 3));
    expect(new Set(Array.from({ length: 50 }, (_, i) => at(7, i))).size).toBeGreaterThan(20);
    expect(new Set(Array.from({ length: 50 }, (_, i) => at(i, 3))).size).toBeGreaterThan(20);
  });
});

describe("filters", () => {
  const reachable = (logits: Float32Array, params: Partial<SlotParams>) =>
    [
      ...new Set(Array.from({ length: 400 }, (_, i) => opSample(logits, { ...PLAIN, ...params, seed: i }, 0).token)),
    ].sort((a, b) => a - b);

  test("top_k breaks ties by the lowest id and stops at the vocabulary", () => {
    const level = new Float32Array(10);
    expect(reachable(level, { topK: 3 })).toEqual([0, 1, 2]);
    expect(reachable(level, { topK: 10 })).toHaveLength(10);
    expect(reachable(level, { topK: 100 })).toHaveLength(10);
  });

  test("top_p keeps the token that crosses the threshold, and always one", () => {
    const level = new Float32Array(10);
    expect(reachable(level, { topP: 0.25 })).toEqual([0, 1, 2]);
    expect(reachable(level, { topP: 1e-6 })).toEqual([0]);
    expect(reachable(Float32Array.from([0, 5, 0]), { topP: 0.5 })).toEqual([1]);
  });

  test("min_p is relative to the most likely token", () => {
    const logits = Float32Array.from([0, Math.log(0.5), Math.log(0.2), Math.log(0.05)]);
    expect(reachable(logits, { minP: 0.15 })).toEqual([0, 1, 2]);
    expect(reachable(logits, { minP: 1 })).toEqual([0]);
  });

  test(`top_k with many candidates equal to a sort (seed ${seed})`, () => {
    const logits = normals(20_000, random).map((x) => Math.round(x * 8) / 8); // many ties
    const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
    for (const topK of [1, 20, 300, 5000]) {
      const kept = new Set(order.slice(0, topK));
      for (let i = 0; i < 50; i++)
        expect(kept).toContain(opSample(logits, { ...PLAIN, topK, temperature: 5, seed: i }, 0).token);
    }
  });
});

describe("greedy", () => {
  test(`is the argmax of adjusted logits, ties to the lowest id (seed ${seed})`, () => {
    for (let i = 0; i < 300; i++) {
      const vocab = integer(1, 2000, random);
      const params = { ...anyParams(vocab), temperature: 0 };
      const logits = normals(vocab, random).map((x) => Math.round(x * 4) / 4);
      const x = adjusted(logits, params, params.outputTokens.length);
      const { token } = opSample(logits, params, params.outputTokens.length);
      const most = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      expect(x[token]).toBeCloseTo(most, 5);
      const exact = x.every((value) => value === Math.fround(value));
      if (exact) expect(token).toBe(x.indexOf(most));
    }
    expect(opSample(new Float32Array(777), GREEDY, 0).token).toBe(0);
  });

  test("tiny temperatures are greedy", () => {
    const logits = normals(1000, random);
    const best = logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
    for (const temperature of [1e-40, 1e-6, 1e-5, 1e-4]) {
      expect(opSample(logits, { ...PLAIN, temperature, seed: 3 }, 0).token).toBe(best);
    }
  });

  test("min_tokens bars stop ids until enough were output", () => {
    const logits = Float32Array.from([0, 9, 1]);
    const params = { ...GREEDY, stopIds: [1], minTokens: 2 };
    expect([0, 1, 2].map((position) => opSample(logits, params, position).token)).toEqual([2, 2, 1]);
  });
});

describe("logprobs", () => {
  test(`are of the raw logits, ranked, the top ones sorted (seed ${seed})`, () => {
    for (let i = 0; i < 100; i++) {
      const vocab = integer(1, 3000, random);
      const params = anyParams(vocab);
      const logits = normals(vocab, random, 5).map((x) => Math.round(x * 16) / 16);
      const top = integer(0, 20, random);
      const out = opSample(logits, params, 0, top);
      const exact = logSoftmax(logits);
      expect(Math.abs(out.logprob - exact[out.token]!)).toBeLessThan(1e-5);
      expect(out.rank).toBe(1 + logits.filter((x) => x > logits[out.token]!).length);
      const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
      for (let j = 0; j < top; j++) {
        expect(out.topIds[j]).toBe(order[j] ?? -1);
        expect(Math.abs(out.topLogprobs[j]! - (j < vocab ? exact[order[j]!]! : 0))).toBeLessThan(1e-5);
      }
    }
  });

  test("none asked for, none computed", () => {
    const out = opSample(Float32Array.from([1, 2]), GREEDY, 0, -1);
    expect(out).toMatchObject({ token: 1, rank: 0, logprob: 0 });
  });
});

describe("broken logits never crash", () => {
  const settings: Partial<SlotParams>[] = [
    { temperature: 0 },
    {},
    { topK: 2 },
    { topP: 0.5 },
    { minP: 0.5 },
    { topK: 3, topP: 0.9, minP: 0.1, repetitionPenalty: 2, outputTokens: Int32Array.from([0, 1]) },
  ];
  test.each(settings.map((s) => [s]))("%j", (setting) => {
    const cases = [
      new Float32Array(100).fill(Number.NaN),
      new Float32Array(100).fill(Number.NEGATIVE_INFINITY),
      new Float32Array(100).fill(Number.POSITIVE_INFINITY),
      new Float32Array(100).fill(Number.NaN).fill(1, 70, 71),
      Float32Array.from([0, Number.NaN, Number.NEGATIVE_INFINITY, 3, Number.NaN]),
      Float32Array.from([3e38, -3e38, 3e38]),
    ];
    for (const logits of cases) {
      const { token } = opSample(logits, { ...PLAIN, ...setting }, 0, 20);
      expect(token).toBeGreaterThanOrEqual(0);
      expect(token).toBeLessThan(logits.length);
    }
    const withOne = opSample(cases[3]!, { ...PLAIN, ...setting, repetitionPenalty: 1 }, 0, 3);
    expect(withOne.token).toBe(70);
    expect([...withOne.topIds]).toEqual([70, -1, -1]);
  });
});
