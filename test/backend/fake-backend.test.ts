import { expect, test } from "bun:test";
import { ABI_VERSION } from "../../src/backend/abi.ts";
import { FakeBackend, type FakeBackendConfig } from "../../src/backend/fake-backend.ts";
import { referenceOutput } from "../../src/backend/fake-model.ts";
import { STEP, StepLayout, StepResult } from "../../src/backend/step-layout.ts";
import { MODEL, SAMPLING } from "../engine/harness.ts";
import { packStep } from "../kernels/step.ts";
import { VirtualClock } from "../sim/simulator.ts";

const BLOCK = MODEL.blockSize;

interface StepOptions {
  ids: number[];
  start: number;
  blocks: number[];
  slot?: number;
  drafts?: number[];
  copies?: [from: number, to: number][];
}

/** A packed step of one sequence, whose last token (and drafts before it) sample. */
function pack({ ids, start, blocks, slot = 0, drafts = [], copies = [] }: StepOptions): Int32Array {
  const first = ids.length - 1 - drafts.length;
  const rows = [...drafts, -1].map((draft, r) => ({ token: first + r, slot, draft }));
  return packStep([{ ids, start, blocks, rows }], { blockSize: BLOCK, copies });
}

function open(config: Partial<FakeBackendConfig> = {}) {
  const clock = new VirtualClock();
  const backend = new FakeBackend({ ...MODEL, ...config }, clock, clock.sleepUntil);
  backend.setSlot(0, PARAMS);
  return { clock, backend };
}

const PARAMS = { ...SAMPLING, promptTokens: new Int32Array(0), outputTokens: new Int32Array(0) };
const PROMPT = Array.from({ length: 40 }, (_, i) => i * 3);

function step(backend: FakeBackend, options: StepOptions): number[] {
  const result = new StepResult(1 + (options.drafts?.length ?? 0));
  backend.wait(backend.submit(pack(options)), result.words);
  return [...result.words.subarray(0, result.numRows)];
}

const reference = (count: number, config: Partial<FakeBackendConfig> = {}) =>
  referenceOutput({ ...MODEL, ...config }, { ...PARAMS, promptTokens: Int32Array.from(PROMPT) }, count);

test("says what the reference says, in any blocks and chunks", () => {
  for (const slidingWindow of [0, 7]) {
    const { backend } = open({ slidingWindow });
    step(backend, { ids: PROMPT.slice(0, 13), start: 0, blocks: [5, 2, 9] });
    backend.setSlot(0, PARAMS);
    const output = step(backend, { ids: PROMPT.slice(13), start: 13, blocks: [5, 2, 9] });
    for (let i = 0; i < 4; i++) output.push(...step(backend, { ids: [-1], start: 40 + i, blocks: [5, 2, 9] }));
    expect(output).toEqual(reference(5, { slidingWindow }));
  }
});

test("a wrong table, a wrong prefix and a missing copy change the output", () => {
  const { backend } = open();
  step(backend, { ids: PROMPT, start: 0, blocks: [0, 1, 2] });
  step(backend, { ids: PROMPT.map((id) => id + 1), start: 0, blocks: [3, 4, 5] });
  const [right] = reference(1);
  const last = { ids: PROMPT.slice(39), start: 39 };
  const after = (options: Partial<StepOptions>) => {
    backend.setSlot(0, PARAMS);
    return step(backend, { ...last, blocks: [0, 1, 2], ...options })[0];
  };
  expect(after({})).toBe(right!);
  expect(after({ blocks: [1, 0, 2] })).not.toBe(right!);
  expect(after({ blocks: [3, 1, 2] })).not.toBe(right!);
  expect(after({ blocks: [0, 1, 7], copies: [[2, 7]] })).toBe(right!);
  expect(after({ blocks: [0, 1, 8], copies: [[5, 8]] })).not.toBe(right!);
});

test("memory that was never written cannot be read", () => {
  const { backend } = open();
  step(backend, { ids: PROMPT, start: 0, blocks: [0, 1, 2] });
  expect(() => step(backend, { ids: [1], start: 40, blocks: [0, 11, 2] })).toThrow("never written");
});

test("drafts are accepted as far as they are right", () => {
  const expected = reference(4);
  const { backend } = open();
  step(backend, { ids: PROMPT, start: 0, blocks: [0, 1, 2] });
  const wrong = (expected[2]! + 1) % MODEL.vocabSize;
  const drafts = [expected[1]!, wrong];
  const rows = step(backend, { ids: [expected[0]!, ...drafts], start: 40, blocks: [0, 1, 2], drafts });
  expect(rows).toEqual([expected[1]!, expected[2]!, -1]);
});

test("steps that break the contract are refused", () => {
  const { backend } = open();
  const good = pack({ ids: PROMPT, start: 0, blocks: [0, 1, 2] });
  const broken = (at: number, value: number) => {
    const bad = good.slice();
    bad[at] = value;
    return () => backend.submit(bad);
  };
  const at = new StepLayout().layOut(40, 1, 1, 3, 0);
  expect(broken(STEP.version, ABI_VERSION + 1)).toThrow("version");
  expect(broken(STEP.numWords, good.length - 1)).toThrow("num_words");
  expect(broken(STEP.numCopies, 1)).toThrow("num_words");
  expect(broken(at.inputIds, MODEL.vocabSize)).toThrow("input_ids");
  expect(broken(at.positions + 5, 1)).toThrow("positions");
  expect(broken(at.slotMapping, 5)).toThrow("slot_mapping");
  expect(() => step(backend, { ids: [1], start: 0, blocks: [0], slot: 3 })).toThrow("never set");
  expect(() => step(backend, { ids: [-2], start: 0, blocks: [0] })).toThrow("sampled nothing");
});

test("a slot in use by a step in flight cannot be set; two steps at most are in flight, in order", () => {
  const { backend } = open();
  const first = backend.submit(pack({ ids: PROMPT, start: 0, blocks: [0, 1, 2] }));
  expect(() => backend.setSlot(0, PARAMS)).toThrow("in flight");
  backend.setSlot(1, PARAMS);
  const second = backend.submit(pack({ ids: [-1], start: 40, blocks: [0, 1, 2] }));
  expect(() => backend.submit(pack({ ids: [-1], start: 41, blocks: [0, 1, 2] }))).toThrow("two steps");
  const result = new StepResult(1).words;
  expect(() => backend.wait(second, result)).toThrow("not next");
  backend.wait(first, result);
  backend.wait(second, result);
});

test("steps take the time that their tokens cost, one after the other", () => {
  const { clock, backend } = open();
  const result = new StepResult(1).words;
  const first = backend.submit(pack({ ids: PROMPT, start: 0, blocks: [0, 1, 2] }));
  const second = backend.submit(pack({ ids: [-1], start: 40, blocks: [0, 1, 2] }));
  backend.wait(first, result);
  expect(clock.ms).toBeCloseTo(1 + 40 * 0.1, 6);
  backend.wait(second, result);
  expect(clock.ms).toBeCloseTo(5 + 1.1, 6);
});

test("after a fault nothing works until a reset, and memory is gone", () => {
  const { backend } = open({ faults: { failSteps: [1], seed: 1 } });
  expect(() => step(backend, { ids: PROMPT, start: 0, blocks: [0, 1, 2] })).toThrow("injected");
  expect(() => step(backend, { ids: PROMPT, start: 0, blocks: [0, 1, 2] })).toThrow("reset");
  backend.reset();
  backend.setSlot(0, PARAMS);
  expect(() => step(backend, { ids: [1], start: 39, blocks: [0, 1, 2] })).toThrow("never written");
  expect(step(backend, { ids: PROMPT, start: 0, blocks: [0, 1, 2] })).toEqual(reference(1));
});
