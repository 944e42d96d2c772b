import { afterAll, expect, test } from "bun:test";
import { STAGES } from "../../src/backend/abi.ts";
import { BackendError, type SlotParams } from "../../src/backend/backend.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import { createNativeEngine, NativeBackend } from "../../src/backend/native-backend.ts";
import { freeNativeModel, kvBlockBytes, loadNativeModel } from "../../src/backend/native-model.ts";
import { measureLimits, probe } from "../../src/backend/probe.ts";
import { StepResult } from "../../src/backend/step-layout.ts";
import { openModel } from "../../src/model/open-model.ts";
import { GREEDY, packStep, runStep, type SequenceStep } from "../kernels/step.ts";

const BLOCK = 16;
const CONFIG = {
  numThreads: 2,
  blockSize: BLOCK,
  numBlocks: 16,
  kvDtype: "float32",
  maxNumSeqs: 4,
  maxBatchedTokens: 64,
  maxLogitRows: 16,
  maxModelLen: 128,
} as const;
const PROMPT = [5, 77, 300, 12, 9];

const { plan } = openModel("test/fixtures/goldens/tiny-llama");
const libraryPath = await locateLibrary();
const model = loadNativeModel(plan, { libraryPath, weightFormat: "float32" });
afterAll(() => freeNativeModel(model));

function withEngine<T>(work: (backend: NativeBackend) => T): T {
  const backend = createNativeEngine(model, CONFIG);
  try {
    return work(backend);
  } finally {
    backend.close();
  }
}

/** Token ids of the rows. */
function run(backend: NativeBackend, seqs: readonly SequenceStep[]): Int32Array {
  return runStep(backend, seqs).tokens;
}

/** Samples `count` tokens after the prompt in a slot. */
function sample(backend: NativeBackend, slot: number, params: Partial<SlotParams>, count = 12): number[] {
  backend.setSlot(slot, { ...GREEDY, ...params });
  const blocks = [slot * 2, slot * 2 + 1];
  const rows = [{ token: PROMPT.length - 1, slot }];
  const tokens = [run(backend, [{ ids: PROMPT, start: 0, blocks, rows }])[0]!];
  while (tokens.length < count) {
    const start = PROMPT.length + tokens.length - 1;
    tokens.push(run(backend, [{ ids: [-1 - slot], start, blocks, rows: [{ token: 0, slot }] }])[0]!);
  }
  return tokens;
}

function status(work: () => unknown): number {
  try {
    work();
  } catch (error) {
    if (error instanceof BackendError) return error.status;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test("what a loaded model and an engine say of themselves", () => {
  expect(model.info.numParameters).toBe(plan.tensors.reduce((sum, tensor) => sum + tensor.rows * tensor.cols, 0));
  expect(model.info.fileBytes).toBe(plan.tensors.reduce((sum, tensor) => sum + tensor.numBytes, 0));
  expect(model).toMatchObject({ vocabSize: 512, maxPositions: 512, slidingWindow: 0 });
  // Keys and values of 3 layers, 2 heads of 16, 4 bytes each.
  expect(kvBlockBytes(model, BLOCK, "float32")).toBeGreaterThanOrEqual(2 * 3 * 2 * 16 * 4 * BLOCK);
  withEngine((backend) => {
    expect(backend.info).toMatchObject({
      name: "cpu",
      device: model.info.isa,
      vocabSize: 512,
      maxModelLen: 128,
      blockSize: 16,
      numBlocks: 16,
      maxNumSeqs: 4,
      maxBatchedTokens: 64,
      maxLogitRows: 16,
      numThreads: 2,
      slidingWindow: 0,
      kvBlockBytes: kvBlockBytes(model, BLOCK, "float32"),
      weightBytes: model.info.weightBytes,
    });
  });
});

test("a sliding window is reported where every layer has one", () => {
  const windowed = openModel("test/fixtures/goldens/tiny-mistral-window").plan;
  const loaded = loadNativeModel(windowed, { libraryPath, weightFormat: "auto" });
  expect(loaded.slidingWindow).toBe(24);
  freeNativeModel(loaded);
  const mixed = { ...windowed, spec: { ...windowed.spec, layerWindow: Int32Array.of(24, 0, 24) } };
  const other = loadNativeModel(mixed, { libraryPath, weightFormat: "auto" });
  expect(other.slidingWindow).toBe(0);
  freeNativeModel(other);
});

test("seeds: the same text again, negative ones too, and another text for another seed", () => {
  withEngine((backend) => {
    const hot = { temperature: 1.5 };
    const first = sample(backend, 0, { ...hot, seed: -7 });
    expect(sample(backend, 1, { ...hot, seed: -7 })).toEqual(first);
    expect(sample(backend, 2, { ...hot, seed: 7 })).not.toEqual(first);
    expect(sample(backend, 3, { ...hot, seed: 2 ** 32 + 7 })).not.toEqual(sample(backend, 0, { ...hot, seed: 7 }));
  });
});

test("slot parameters arrive: bias, stop ids, output tokens of a resumed sequence", () => {
  withEngine((backend) => {
    const greedy = sample(backend, 0, {});
    expect(sample(backend, 1, { logitBias: [[500, 1000]] }, 3)).toEqual([500, 500, 500]);
    const biased: SlotParams["logitBias"] = [
      [500, 1000],
      [501, 950],
    ];
    // min_tokens keeps the likelier one away twice.
    expect(sample(backend, 1, { logitBias: biased, stopIds: [500], minTokens: 2 }, 3)).toEqual([501, 501, 500]);
    expect(sample(backend, 1, { logitBias: biased, presencePenalty: 100 }, 3)).toEqual([500, 501, 500]);

    // Resumed after 4 tokens: the slot knows the last one and continues.
    const blocks = [6, 7];
    backend.setSlot(3, { ...GREEDY, outputTokens: Int32Array.from(greedy.slice(0, 4)) });
    const known = [...PROMPT, ...greedy.slice(0, 3)];
    run(backend, [{ ids: known, start: 0, blocks, rows: [] }]);
    const next = run(backend, [{ ids: [-1 - 3], start: known.length, blocks, rows: [{ token: 0, slot: 3 }] }]);
    expect(next[0]).toBe(greedy[4]!);
  });
});

test("logprobs: rank, value and alternatives", () => {
  withEngine((backend) => {
    const rows = [{ token: 0, slot: -1, target: 77, top: 3 }];
    const result = runStep(backend, [{ ids: PROMPT, start: 0, blocks: [0], rows }]);
    expect(result.tokens).toEqual(Int32Array.of(77));
    const [rank, logprob] = [result.ranks[0]!, result.logprobs[0]!];
    expect(rank).toBeGreaterThanOrEqual(1);
    expect(logprob).toBeLessThan(0);
    const top = [...result.topLogprobs[0]!];
    expect(top).toEqual([...top].sort((a, b) => b - a));
    if (rank > 3) expect(logprob).toBeLessThanOrEqual(top[2]!);
    else expect(result.topIds[0]![rank - 1]).toBe(77);
  });
});

test("errors are statuses with the library's words, and leave the engine usable", () => {
  withEngine((backend) => {
    const result = new StepResult(1).words;
    expect(status(() => backend.submit(new Int32Array(16)))).toBe(-1);
    expect(status(() => backend.wait(12_345, result))).toBe(-6);
    expect(status(() => backend.setSlot(99, GREEDY))).toBe(-1);
    expect(status(() => backend.setSlot(0, { ...GREEDY, topP: Number.NaN }))).toBe(-1);
    const tooFar = [{ ids: [1], start: 0, blocks: [16], rows: [] }];
    expect(() => backend.submit(packStep(tooFar, { blockSize: BLOCK }))).toThrow(/slot_mapping|block/);
    expect(sample(backend, 0, {}, 3)).toHaveLength(3);
  });
  expect(status(() => createNativeEngine(model, { ...CONFIG, blockSize: 12 }))).toBe(-1);
  const broken = {
    ...plan,
    tensors: plan.tensors.map((tensor, i) => (i === 4 ? { ...tensor, offset: 2 ** 50 } : tensor)),
  };
  expect(status(() => loadNativeModel(broken, { libraryPath, weightFormat: "auto" }))).toBe(-3);
  const missing = { ...plan, paths: ["/nowhere/model.safetensors"] };
  expect(() => loadNativeModel(missing, { libraryPath, weightFormat: "auto" })).toThrow("/nowhere/model.safetensors");
  const incomplete = { ...plan, tensors: plan.tensors.slice(1) };
  expect(status(() => loadNativeModel(incomplete, { libraryPath, weightFormat: "auto" }))).toBe(-1);
  expect(
    () => new NativeBackend({ libraryPath: "/nowhere.so", engine: 0, info: withEngine(({ info }) => info) }),
  ).toThrow(BackendError);
});

test("a closed engine refuses calls instead of touching freed memory", () => {
  const backend = createNativeEngine(model, CONFIG);
  backend.close();
  backend.close();
  expect(() => backend.reset()).toThrow("closed");
  expect(() => backend.submit(new Int32Array(16))).toThrow("closed");
});

test("reset forgets the step in flight and the slots", () => {
  withEngine((backend) => {
    const before = sample(backend, 0, {}, 4);
    const ticket = backend.submit(packStep([{ ids: PROMPT, start: 0, blocks: [0], rows: [] }], { blockSize: BLOCK }));
    backend.reset();
    expect(status(() => backend.wait(ticket, new Int32Array()))).toBe(-6);
    const stale = [{ ids: [-1], start: 5, blocks: [0], rows: [{ token: 0, slot: 0 }] }];
    expect(status(() => backend.submit(packStep(stale, { blockSize: BLOCK })))).toBeLessThan(0);
    expect(sample(backend, 0, {}, 4)).toEqual(before);
  });
});

test("handles work in other Workers, after the one that used them is gone", async () => {
  const backend = createNativeEngine(model, CONFIG);
  const expected = sample(backend, 0, {}, 6);
  for (let i = 0; i < 2; i++) {
    const worker = new Worker(new URL("attach-worker.ts", import.meta.url));
    const answer = new Promise<MessageEvent>((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = (event) => reject(new Error(event.message));
    });
    worker.postMessage({ handle: backend.handle, prompt: PROMPT, count: 6 });
    expect((await answer).data).toEqual(expected);
    worker.terminate();
  }
  backend.reset();
  expect(sample(backend, 0, {}, 6)).toEqual(expected);
  backend.close();
});

test("collections between steps do not move what native code was given", () => {
  withEngine((backend) => {
    const expected = sample(backend, 0, { temperature: 1, seed: 3 }, 12);
    for (let round = 0; round < 20; round++) {
      Bun.gc(true);
      expect(sample(backend, 0, { temperature: 1, seed: 3 }, 12)).toEqual(expected);
    }
  });
});

test("profile counts steps, tokens and stages", () => {
  withEngine((backend) => {
    backend.profile(true);
    sample(backend, 0, {}, 4);
    const profile = backend.profile(false);
    expect(profile.steps).toBe(4);
    expect(profile.tokens).toBe(PROMPT.length + 3);
    expect(Object.keys(profile.stages)).toEqual([...STAGES]);
    expect(profile.stages.qkv!.ops).toBeGreaterThan(0);
    expect(profile.stages.lm_head!.bytes).toBeGreaterThan(0);
    expect(profile.stepNs).toBeGreaterThan(0);
  });
});

test("probe and limits", () => {
  const machine = probe(libraryPath);
  expect(machine.numCores).toBeGreaterThanOrEqual(1);
  expect(machine.totalMemoryBytes).toBeGreaterThan(machine.availableMemoryBytes);
  expect(machine.cpuName.length).toBeGreaterThan(0);
  expect(machine.buildInfo).toStartWith("cpu");
  expect(machine.bestIsa).not.toBe("auto");
  if (machine.bestIsa === "avx2") expect(machine.features).toContain("avx2");
  const limits = measureLimits(libraryPath, "portable", 1);
  for (const value of Object.values(limits)) expect(value).toBeGreaterThan(1e6);
});
