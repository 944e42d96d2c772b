import { dlopen, FFIType } from "bun:ffi";
import { afterAll, afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { BackendError } from "../../src/backend/backend.ts";
import { createNativeEngine, type EngineConfig, type NativeBackend } from "../../src/backend/native-backend.ts";
import { freeNativeModel, loadNativeModel } from "../../src/backend/native-model.ts";
import { StepResult } from "../../src/backend/step-layout.ts";
import { openModel } from "../../src/model/open-model.ts";
import { GREEDY as GREEDY_SAMPLING } from "../engine/fixture.ts";
import { type NativeRequest, run } from "../engine/native-run.ts";
import { GREEDY, packStep, runStep, runStepWithLogits, type SequenceStep } from "./step.ts";

/**
 * What every backend gets from kernels/common, over a backend of toy arithmetic (second-backend/) that behaves as a
 * device does: a step is computed after its launch has returned, on threads of the backend's own, by one rank or two.
 */
const libraryPath = join(import.meta.dir, "../../build/libscalellm_second.so");
const { symbols: device } = dlopen(libraryPath, {
  second_set: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.void },
  second_events: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
});
const { plan } = openModel(join(import.meta.dir, "../fixtures/goldens/tiny-llama"));
const model = loadNativeModel(plan, { libraryPath, weightFormat: "auto" });
afterAll(() => freeNativeModel(model));
afterEach(() => void device.second_set(0, 0, 0));

const BLOCK = 8;
const CONFIG: EngineConfig = {
  numThreads: 2,
  blockSize: BLOCK,
  numBlocks: 32,
  kvDtype: "float16",
  maxNumSeqs: 4,
  maxBatchedTokens: 64,
  maxLogitRows: 32,
  maxModelLen: 128,
};
const STATE = -6;

/** Runs `work` on an engine of so many ranks; events before it are forgotten. */
function withEngine<T>(ranks: number, work: (backend: NativeBackend) => T): T {
  const backend = createNativeEngine(model, { ...CONFIG, numThreads: ranks });
  events();
  try {
    return work(backend);
  } finally {
    // Closing waits for the device.
    device.second_set(0, 0, 0);
    backend.close();
  }
}

/** What happened since the last call: "launch 1", "computed 1", "finish 1". */
function events(): string[] {
  const out = new Int32Array(256);
  const count = device.second_events(out, out.length);
  const kinds = ["launch", "computed", "finish"];
  return Array.from(out.subarray(0, count), (event) => `${kinds[Math.floor(event / 1000)]} ${event % 1000}`);
}

/** Events until there are `count` of them, or 10 s have passed. */
function waitForEvents(count: number): string[] {
  const seen: string[] = [];
  const endMs = performance.now() + 10_000;
  while (seen.length < count && performance.now() < endMs) {
    seen.push(...events());
    Bun.sleepSync(1);
  }
  return seen;
}

function status(work: () => unknown): number {
  try {
    work();
  } catch (error) {
    if (error instanceof BackendError) return error.status;
    throw error;
  }
  return 0;
}

const PROMPT = [5, 77, 300, 12, 9];
const prefill: SequenceStep = { ids: PROMPT, start: 0, blocks: [3, 1], rows: [{ token: 4, slot: 0 }] };
const decode = (n: number): SequenceStep => ({
  ids: [-1],
  start: PROMPT.length + n,
  blocks: [3, 1],
  rows: [{ token: 0, slot: 0 }],
});
const pack = (sequence: SequenceStep) => packStep([sequence], { blockSize: BLOCK });

/** Tokens of the prompt's continuation, each step waited for. */
function stepByStep(backend: NativeBackend, count: number): number[] {
  backend.setSlot(0, GREEDY);
  return Array.from({ length: count }, (_, i) => runStep(backend, [i === 0 ? prefill : decode(i - 1)]).tokens[0]!);
}

test("step N+1 is launched before step N is finished, and before it is computed", () => {
  withEngine(2, (backend) => {
    const expected = stepByStep(backend, 3);
    events();
    device.second_set(1, 0, 0);
    backend.setSlot(0, GREEDY);
    const tickets = [backend.submit(pack(prefill)), backend.submit(pack(decode(0)))] as const;
    expect(waitForEvents(2)).toEqual(["launch 4", "launch 5"]);
    expect(status(() => backend.submit(pack(decode(1))))).toBe(STATE);
    device.second_set(0, 0, 0);
    const result = new StepResult(1);
    backend.wait(tickets[0], result.words);
    const tokens = [result.words[0]];
    const third = backend.submit(pack(decode(1)));
    for (const ticket of [tickets[1], third]) {
      backend.wait(ticket, result.words);
      tokens.push(result.words[0]);
    }
    expect(tokens).toEqual(expected);
    const order = events();
    for (const step of [4, 5, 6]) {
      expect(order.indexOf(`finish ${step}`)).toBeGreaterThan(order.indexOf(`computed ${step}`));
    }
  });
});

test("steps are finished in the order of launches, whichever is waited for first", () => {
  withEngine(2, (backend) => {
    const expected = stepByStep(backend, 2);
    backend.setSlot(0, GREEDY);
    events();
    const tickets = [backend.submit(pack(prefill)), backend.submit(pack(decode(0)))] as const;
    const results = [new StepResult(1), new StepResult(1)] as const;
    backend.wait(tickets[1], results[1].words);
    backend.wait(tickets[0], results[0].words);
    expect(results.map(({ words }) => words[0]!)).toEqual(expected);
    expect(events().filter((event) => event.startsWith("finish"))).toEqual(["finish 3", "finish 4"]);
  });
});

test("a slot is in use until its step is finished", () => {
  withEngine(2, (backend) => {
    backend.setSlot(0, GREEDY);
    const ticket = backend.submit(pack(prefill));
    expect(waitForEvents(2)).toEqual(["launch 1", "computed 1"]);
    expect(status(() => backend.setSlot(0, GREEDY))).toBe(STATE);
    backend.setSlot(1, GREEDY);
    backend.wait(ticket, new StepResult(1).words);
    backend.setSlot(0, GREEDY);
  });
});

test("a reset waits for what the device computes, finishes it, and forgets slots and tickets", () => {
  withEngine(2, (backend) => {
    const expected = stepByStep(backend, 2);
    backend.setSlot(0, GREEDY);
    events();
    device.second_set(0, 20_000, 0);
    const tickets = [backend.submit(pack(prefill)), backend.submit(pack(decode(0)))];
    backend.reset();
    const seen = events();
    for (const step of [3, 4]) expect(seen).toContain(`finish ${step}`);
    for (const ticket of tickets) expect(status(() => backend.wait(ticket, new StepResult(1).words))).toBe(STATE);
    for (const step of [prefill, decode(0)]) expect(status(() => backend.submit(pack(step)))).toBe(-1);
    expect(stepByStep(backend, 2)).toEqual(expected);
  });
});

test("an engine is freed once its steps are finished", () => {
  withEngine(2, (backend) => {
    backend.setSlot(0, GREEDY);
    device.second_set(0, 20_000, 0);
    backend.submit(pack(prefill));
    backend.submit(pack(decode(0)));
    backend.close();
    expect(events()).toContain("finish 2");
  });
});

test("a step that fails on the device fails for its ticket alone", () => {
  withEngine(2, (backend) => {
    backend.setSlot(0, GREEDY);
    device.second_set(0, 0, 1);
    const tickets = [backend.submit(pack(prefill)), backend.submit(pack(decode(0)))] as const;
    const result = new StepResult(1);
    expect(() => backend.wait(tickets[0], result.words)).toThrow("failed on purpose");
    backend.wait(tickets[1], result.words);
    expect(status(() => backend.wait(tickets[0], result.words))).toBe(STATE);
  });
});

test("times are the device's, and are counted when a step is finished", () => {
  withEngine(2, (backend) => {
    backend.setSlot(0, GREEDY);
    device.second_set(0, 20_000, 0);
    const tickets = [backend.submit(pack(prefill)), backend.submit(pack(decode(0)))] as const;
    expect(waitForEvents(4)).toHaveLength(4);
    expect(backend.stepMs()).toBe(0);
    backend.wait(tickets[0], new StepResult(1).words);
    expect(backend.profile(false)).toMatchObject({ steps: 1, tokens: PROMPT.length });
    backend.wait(tickets[1], new StepResult(1).words);
    const profile = backend.profile(false);
    expect(profile).toMatchObject({ steps: 2, tokens: PROMPT.length + 1 });
    expect(profile.stepNs).toBeGreaterThanOrEqual(2 * 20_000_000);
  });
});

test("two ranks say what one says, bit for bit, of every part of a step", () => {
  const everything = (ranks: number) =>
    withEngine(ranks, (backend) => {
      backend.setSlot(0, { ...GREEDY, temperature: 1, seed: 5 });
      backend.setSlot(1, { ...GREEDY, logitBias: [[9, 20]], stopIds: [9], minTokens: 1 });
      const other: SequenceStep = { ids: [1, 2, 3], start: 0, blocks: [7], rows: [{ token: 2, slot: 1, top: 3 }] };
      const scored: SequenceStep = {
        ...prefill,
        rows: [...PROMPT.slice(1).map((target, token) => ({ token, target, top: 20 })), { token: 4, slot: 0, top: 0 }],
      };
      const first = runStepWithLogits(backend, [scored, other]);
      const drafted: SequenceStep = {
        ids: [-2, 9, 9],
        start: 3,
        blocks: [7],
        rows: [
          { token: 0, slot: 1, draft: 9 },
          { token: 1, slot: 1, draft: 9 },
          { token: 2, slot: 1 },
        ],
      };
      const copied = { ...decode(0), blocks: [20, 1] };
      const step = packStep([copied, drafted], { blockSize: BLOCK, copies: [[3, 20]] });
      const second = new StepResult(4);
      backend.wait(backend.submit(step), second.words);
      return [first.words, first.logits, second.words.slice()];
    });
  const one = everything(1);
  expect(everything(2)).toEqual(one);
  expect(one[2]!.subarray(0, 3)).not.toContain(-1);
});

test("the engine's output is the same with the device a step behind, in chunks, after preemption and with drafts", () => {
  const requests: NativeRequest[] = Array.from({ length: 6 }, (_, i) => ({
    prompt: Int32Array.from({ length: 10 + 7 * i }, (_, j) => (37 * i + 11 * j) % model.vocabSize),
    sampling: { ...GREEDY_SAMPLING, temperature: i % 2, seed: i, maxTokens: 12, logprobs: 0 },
  }));
  const alone = requests.map((request) => run(model, [[request]], { threads: 1, engine: { asyncScheduling: false } }));
  const expected = alone.map(({ transcripts }) => transcripts[0]!);
  device.second_set(0, 300, 0);
  expect(run(model, [requests]).transcripts).toEqual(expected);
  expect(run(model, [requests], { engine: { maxNumBatchedTokens: 19 } }).transcripts).toEqual(expected);
  expect(run(model, [requests], { engine: { speculativeTokens: 3 } }).transcripts).toEqual(expected);
  const tight = run(model, [requests], { numBlocks: 16 });
  expect(tight.transcripts).toEqual(expected);
  expect(tight.preemptions).toBeGreaterThan(0);
});
