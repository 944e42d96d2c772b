import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { SlotParams } from "../../src/backend/backend.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import { createNativeEngine, type EngineConfig, type NativeBackend } from "../../src/backend/native-backend.ts";
import { freeNativeModel, loadNativeModel } from "../../src/backend/native-model.ts";
import { openModel } from "../../src/model/open-model.ts";
import { opSample } from "./op-sample.ts";
import { generator, integer, seed } from "./random.ts";
import { logSoftmax } from "./sampler-reference.ts";
import { GREEDY, logitsOf, runStep, type SequenceStep } from "./step.ts";

const random = generator(seed);
const library = await locateLibrary();
const { plan } = openModel(join(import.meta.dir, "../fixtures/goldens/tiny-llama"));
const model = loadNativeModel(plan, { libraryPath: library, weightFormat: "float32" });
const VOCAB = model.vocabSize;
const CONFIG: EngineConfig = {
  numThreads: 2,
  blockSize: 16,
  numBlocks: 128,
  kvDtype: "float16",
  maxNumSeqs: 8,
  maxBatchedTokens: 512,
  maxLogitRows: 512,
  maxModelLen: 256,
};
const engine = createNativeEngine(model, CONFIG);
const single = createNativeEngine(model, { ...CONFIG, numThreads: 1 });
afterAll(() => {
  engine.close();
  single.close();
  freeNativeModel(model);
});

const blocksOf = (sequence: number) => Int32Array.from({ length: 16 }, (_, i) => sequence * 16 + i);
const randomIds = (count: number) => Int32Array.from({ length: count }, () => integer(0, VOCAB - 1, random));
const sampled = (change: Partial<SlotParams> = {}): SlotParams => ({
  ...GREEDY,
  temperature: 0.9,
  topK: 40,
  topP: 0.95,
  repetitionPenalty: 1.3,
  frequencyPenalty: 0.4,
  presencePenalty: 0.3,
  seed: integer(0, 2 ** 31, random),
  ...change,
});

function decode(slot: number, position: number, ids: ArrayLike<number> = [-1 - slot]): SequenceStep {
  return { ids, start: position, blocks: blocksOf(slot), rows: [{ token: ids.length - 1, slot }] };
}

/** Tokens of a prompt's continuation in slot 0, one step each. */
function generate(backend: NativeBackend, prompt: Int32Array, params: SlotParams, count: number): number[] {
  backend.setSlot(0, params);
  const out: number[] = [];
  for (let i = 0; i < count; i++) {
    const step = i === 0 ? decode(0, 0, prompt) : decode(0, prompt.length + i - 1);
    out.push(runStep(backend, [step]).tokens[0]!);
  }
  return out;
}

describe("sampling in the step", () => {
  test(`equals sampling from its logits with all tokens so far (seed ${seed})`, () => {
    for (let round = 0; round < 5; round++) {
      const prompt = randomIds(integer(2, 40, random));
      const params = sampled({ promptTokens: prompt, minTokens: 3, stopIds: [1, 2], logitBias: [[7, 3]] });
      engine.setSlot(0, params);
      const outputs: number[] = [];
      for (let i = 0; i < 12; i++) {
        const step = i === 0 ? decode(0, 0, prompt) : decode(0, prompt.length + i - 1);
        const rows = [{ ...step.rows[0]!, top: 5 }];
        const result = runStep(engine, [{ ...step, rows }], { returnLogits: true });
        const logits = new Float32Array(VOCAB);
        engine.logits(logits);
        const expected = opSample(logits, { ...params, outputTokens: Int32Array.from(outputs) }, i, 5);
        expect(result.tokens[0]).toBe(expected.token);
        expect(result.ranks[0]).toBe(expected.rank);
        expect(result.logprobs[0]).toBe(expected.logprob);
        expect(result.topIds[0]).toEqual(expected.topIds);
        expect(result.topLogprobs[0]).toEqual(expected.topLogprobs);
        outputs.push(expected.token);
      }
    }
  });

  test(`is the same alone, in a batch and on one thread (seed ${seed})`, () => {
    const prompts = Array.from({ length: 8 }, () => randomIds(integer(1, 60, random)));
    const params = prompts.map((promptTokens) => sampled({ promptTokens }));
    const alone = prompts.map((prompt, i) => generate(engine, prompt, params[i]!, 10));
    expect(prompts.map((prompt, i) => generate(single, prompt, params[i]!, 10))).toEqual(alone);
    const together: number[][] = prompts.map(() => []);
    for (const [slot, p] of params.entries()) engine.setSlot(slot, p);
    for (let i = 0; i < 10; i++) {
      const steps = prompts.map((p, s) => (i === 0 ? decode(s, 0, p) : decode(s, p.length + i - 1)));
      const { tokens } = runStep(engine, steps);
      for (const [slot, out] of together.entries()) out.push(tokens[slot]!);
    }
    expect(together).toEqual(alone);
  });

  test(`resumes where it stopped (seed ${seed})`, () => {
    const prompt = randomIds(20);
    const params = sampled({ promptTokens: prompt });
    const whole = generate(engine, prompt, params, 12);
    // Another slot, the KV recomputed from prompt and output, the counts and the random position restored.
    engine.setSlot(3, { ...params, outputTokens: Int32Array.from(whole.slice(0, 5)) });
    const rest: number[] = [];
    rest.push(runStep(engine, [decode(3, 0, [...prompt, ...whole.slice(0, 5)])]).tokens[0]!);
    for (let i = 6; i < 12; i++) rest.push(runStep(engine, [decode(3, prompt.length + i - 1)]).tokens[0]!);
    expect(rest).toEqual(whole.slice(5));
    // The last token is known to the slot at once.
    engine.setSlot(3, { ...params, outputTokens: Int32Array.from(whole.slice(0, 6)) });
    expect(runStep(engine, [decode(3, prompt.length + 5)]).tokens[0]).toBe(whole[6]!);
  });
});

test(`a row's token is the same whether or not its logits are asked for (seed ${seed})`, () => {
  const kinds = [
    GREEDY,
    { ...GREEDY, minTokens: 2, stopIds: [0, 1, 2, 3, 4, 5, 6, 7] },
    { ...GREEDY, repetitionPenalty: 1.5 },
    sampled(),
  ];
  const slots = Array.from({ length: CONFIG.maxNumSeqs }, (_, slot) => slot);
  for (let round = 0; round < 8; round++) {
    const prompts = slots.map(() => randomIds(integer(1, 9, random)));
    const params = slots.map(() => kinds[integer(0, kinds.length - 1, random)]!);
    const drafts = slots.map(() => randomIds(integer(0, 3, random)));
    const tops = slots.map(() => (random() < 0.3 ? 2 : -1));
    const run = (returnLogits: boolean): number[] => {
      for (const slot of slots) engine.setSlot(slot, params[slot]!);
      const steps = [0, 1, 2, 3].map((i) =>
        slots.map((slot): SequenceStep => {
          const prompt = prompts[slot]!;
          const step = i === 0 ? decode(slot, 0, prompt) : decode(slot, prompt.length + i - 1);
          if (i < 3) return { ...step, rows: [{ ...step.rows[0]!, top: tops[slot]! }] };
          const rows = [...drafts[slot]!, -1].map((draft, token) => ({ token, slot, draft, top: tops[slot]! }));
          return { ...step, ids: [-1 - slot, ...drafts[slot]!], rows };
        }),
      );
      return steps.flatMap((step) => [...runStep(engine, step, { returnLogits }).tokens]);
    };
    expect(run(false)).toEqual(run(true));
  }
});

describe("drafts", () => {
  const prompt = randomIds(9);
  const params = sampled({ promptTokens: prompt });

  test(`accepted or not, the tokens are those without drafts (seed ${seed})`, () => {
    const plain = generate(engine, prompt, params, 16);
    for (const rightness of [0, 0.5, 0.9, 1]) {
      engine.setSlot(0, params);
      const out = [runStep(engine, [decode(0, 0, prompt)]).tokens[0]!];
      while (out.length < 16) {
        const drafts = Array.from({ length: Math.min(3, 16 - out.length - 1) }, (_, i) =>
          random() < rightness ? plain[out.length + i]! : integer(0, VOCAB - 1, random),
        );
        const rows = [...drafts, -1].map((draft, token) => ({ token, slot: 0, draft }));
        const start = prompt.length + out.length - 1;
        const result = runStep(engine, [{ ids: [-1, ...drafts], start, blocks: blocksOf(0), rows }]).tokens;
        const accepted = drafts.findIndex((draft, i) => draft !== result[i]);
        const count = accepted < 0 ? result.length : accepted + 1;
        expect([...result.subarray(count)]).toEqual(new Array(result.length - count).fill(-1));
        out.push(...result.subarray(0, count));
      }
      expect(out).toEqual(plain);
    }
  });
});

describe("scoring rows", () => {
  test(`report the target's raw log-probability at every position (seed ${seed})`, () => {
    const prompt = randomIds(200);
    const rows = Array.from(prompt, (_, token) => ({ token, target: prompt[(token + 1) % 200]!, top: token % 4 }));
    const sequence: SequenceStep = { ids: prompt, start: 0, blocks: blocksOf(0), rows };
    const logits = logitsOf(engine, [sequence]);
    const result = runStep(engine, [sequence]);
    for (const [i, row] of rows.entries()) {
      const x = logits.subarray(i * VOCAB, (i + 1) * VOCAB);
      const exact = logSoftmax(x);
      expect(result.tokens[i]!).toBe(row.target);
      expect(Math.abs(result.logprobs[i]! - exact[row.target]!)).toBeLessThan(1e-5);
      expect(result.ranks[i]).toBe(1 + x.filter((value) => value > x[row.target]!).length);
      expect(result.topIds[i]!.filter((id) => id >= 0)).toHaveLength(row.top);
      expect(Math.abs(result.topLogprobs[i]![0]! - (row.top > 0 ? Math.max(...exact) : 0))).toBeLessThan(1e-5);
    }
  });

  test("leave the slot untouched", () => {
    const prompt = randomIds(10);
    const params = sampled({ promptTokens: prompt });
    const plain = generate(engine, prompt, params, 4);
    engine.setSlot(0, params);
    const rows = [
      { token: 8, target: 5 },
      { token: 8, target: 6, slot: 0 },
      { token: 9, slot: 0 },
    ];
    const mixed = runStep(engine, [{ ids: prompt, start: 0, blocks: blocksOf(0), rows }]).tokens;
    expect([...mixed]).toEqual([5, 6, plain[0]!]);
    expect(runStep(engine, [decode(0, 10)]).tokens[0]).toBe(plain[1]!);
  });
});

test(`copied blocks hold what their source held (seed ${seed})`, () => {
  const prompt = randomIds(40);
  const rows = [{ token: 39, target: 0 }];
  const whole = logitsOf(engine, [{ ids: prompt, start: 0, blocks: blocksOf(0), rows }]);
  const copies = [0, 1, 2].map((i) => [i, 100 + i] as const);
  const tail = { ids: prompt.subarray(39), start: 39, blocks: [100, 101, 102], rows: [{ token: 0, target: 0 }] };
  runStep(engine, [tail], { copies, returnLogits: true });
  const copied = new Float32Array(VOCAB);
  engine.logits(copied);
  expect(copied as Float32Array).toEqual(whole);
});
