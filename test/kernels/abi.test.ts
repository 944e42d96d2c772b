import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ABI_VERSION } from "../../src/backend/abi.ts";
import { BackendError } from "../../src/backend/backend.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import { createNativeEngine, type EngineConfig } from "../../src/backend/native-backend.ts";
import { freeNativeModel, loadNativeModel } from "../../src/backend/native-model.ts";
import { STEP, StepLayout, StepResult } from "../../src/backend/step-layout.ts";
import { openModel } from "../../src/model/open-model.ts";
import type { LoadPlan, WeightTensor } from "../../src/model/spec.ts";
import { abi, probe, sl } from "./native-library.ts";
import { GREEDY, packStep, runStep, type SequenceStep } from "./step.ts";

const library = await locateLibrary();
const folder = join(import.meta.dir, "../fixtures/goldens/tiny-llama");
const { plan } = openModel(folder);
const load = (changed: LoadPlan = plan) => loadNativeModel(changed, { libraryPath: library, weightFormat: "float32" });
const model = load();
const CONFIG: EngineConfig = {
  numThreads: 2,
  blockSize: 16,
  numBlocks: 64,
  kvDtype: "float16",
  maxNumSeqs: 4,
  maxBatchedTokens: 128,
  maxLogitRows: 64,
  maxModelLen: 256,
};
const engine = createNativeEngine(model, CONFIG);
const scratch = mkdtempSync(join(tmpdir(), "scalellm-abi-"));
afterAll(() => {
  engine.close();
  freeNativeModel(model);
  rmSync(scratch, { recursive: true });
});

/** [status, message] of a call that must fail. */
function failure(call: () => unknown): [number, string] {
  try {
    call();
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    return [error.status, error.message];
  }
  return [0, "no failure"];
}

const ARGUMENT = -1;
const IO = -3;
const STATE = -6;
/** What failure() returns when the message names the field. */
const refused = (status: number, field: string): [number, string] => [status, expect.stringContaining(field)];

describe("self description", () => {
  const header = readFileSync(join(import.meta.dir, "../../kernels/include/scalellm.h"), "utf8").replace(/\/\/.*/g, "");

  test("names every field of every struct in the header, in order, at natural alignment", () => {
    const structs = [...header.matchAll(/typedef struct \{([^}]*)\} (\w+);/g)];
    expect(structs.map((m) => m[2]!).sort()).toEqual(Object.keys(abi.structs).sort());
    for (const [, body, name] of structs) {
      const fields = [...body!.matchAll(/[\w* ]*?[\w*]+ ([\w, [\]]+);/g)].flatMap((m) =>
        m[1]!.split(",").map((f) => f.trim().replace(/\[.*/, "")),
      );
      const described = abi.structs[name!]!;
      expect(Object.keys(described.fields), name).toEqual(fields);
      let end = 0;
      for (const [offset, size] of Object.values(described.fields)) {
        expect(offset - end).toBeLessThan(8);
        end = offset + size;
      }
      expect(described.size - end).toBeLessThan(8);
    }
  });

  test("the library exports every function of the header", () => {
    const functions = [...header.matchAll(/SL_API [\w* ]+?(sl_\w+)\(/g)].map((m) => m[1]!);
    expect(functions.sort()).toEqual(Object.keys(sl).sort());
    expect(abi.version).toBe(ABI_VERSION);
    expect(String(sl.sl_build_info())).toStartWith("cpu");
  });

  test("the probe knows this machine", () => {
    const info = probe();
    expect(info.bestIsa).toBeGreaterThan(0);
    expect(info.numCores).toBeGreaterThan(0);
  });
});

describe("loading refuses", () => {
  const changed = (index: number, change: Partial<WeightTensor>): LoadPlan => ({
    ...plan,
    tensors: plan.tensors.map((t, i) => (i === index ? { ...t, ...change } : t)),
  });
  const q = plan.tensors.findIndex((t) => t.role === "q");
  const bytes = readFileSync(plan.paths[0]!);

  test("a file that does not exist, or a folder", () => {
    for (const path of [join(scratch, "none"), scratch]) {
      expect(failure(() => load({ ...plan, paths: [path] }))).toEqual(refused(IO, path));
    }
  });

  test("a file cut anywhere, before a byte past its end is read", () => {
    const path = join(scratch, "cut.safetensors");
    for (const length of [1, 100, bytes.length >> 1, bytes.length - 1]) {
      writeFileSync(path, bytes.subarray(0, length));
      expect(failure(() => load({ ...plan, paths: [path] }))).toEqual(refused(IO, "shorter"));
    }
    expect(failure(() => load(changed(q, { offset: 2 ** 52 })))).toEqual(refused(IO, "shorter"));
    expect(failure(() => load(changed(q, { offset: -8 })))).toEqual(refused(ARGUMENT, "offset"));
  });

  test("tensors that are missing, twice, misshapen or unknown", () => {
    expect(failure(() => load({ ...plan, tensors: plan.tensors.filter((_, i) => i !== q) }))).toEqual(
      refused(ARGUMENT, "layer 0 q: missing"),
    );
    expect(failure(() => load({ ...plan, tensors: [...plan.tensors, plan.tensors[q]!] }))).toEqual(
      refused(ARGUMENT, "twice"),
    );
    const { rows, cols } = plan.tensors[q]!;
    expect(failure(() => load(changed(q, { rows: cols, cols: rows / 2, numBytes: rows * cols })))).toEqual(
      refused(ARGUMENT, "shape"),
    );
    expect(failure(() => load(changed(q, { numBytes: 12 })))).toEqual(refused(ARGUMENT, "num_bytes"));
    expect(failure(() => load(changed(q, { dtype: "q4_k" })))).toEqual(refused(ARGUMENT, "layer 0 q"));
    expect(failure(() => load(changed(q, { layer: 99 })))).toEqual(refused(ARGUMENT, "no such layer"));
    expect(failure(() => load(changed(q, { expert: 5 })))).toEqual(refused(ARGUMENT, "no such expert"));
    expect(failure(() => load(changed(q, { file: 3 })))).toEqual(refused(ARGUMENT, "file"));
    const spare: WeightTensor = { ...plan.tensors.find((t) => t.role === "attn_norm")!, role: "q_norm" };
    expect(failure(() => load({ ...plan, tensors: [...plan.tensors, spare] }))).toEqual(refused(ARGUMENT, "not used"));
  });

  test("numbers that are out of range", () => {
    const bad = (spec: object) => failure(() => load({ ...plan, spec: { ...plan.spec, ...spec } }));
    expect(bad({ headDim: 15, ropeInvFreq: new Float32Array(8) })).toEqual(refused(ARGUMENT, "head_dim"));
    expect(bad({ numKvHeads: 3 })).toEqual(refused(ARGUMENT, "num_kv_heads"));
    expect(bad({ vocabSize: 0 })).toEqual(refused(ARGUMENT, "vocab_size"));
    expect(bad({ rmsNormEps: Number.NaN })).toEqual(refused(ARGUMENT, "rms_norm_eps"));
  });
});

describe("an engine", () => {
  test("refuses a configuration by field", () => {
    const bad = (change: Partial<EngineConfig>) => failure(() => createNativeEngine(model, { ...CONFIG, ...change }));
    expect(bad({ blockSize: 12 })).toEqual(refused(ARGUMENT, "block_size"));
    expect(bad({ numBlocks: 0 })).toEqual(refused(ARGUMENT, "num_blocks"));
    expect(bad({ numBlocks: 2 ** 29 })).toEqual(refused(ARGUMENT, "num_blocks"));
    expect(bad({ maxNumSeqs: 0 })).toEqual(refused(ARGUMENT, "max_num_seqs"));
    expect(bad({ maxModelLen: 1_000_000 })).toEqual(refused(ARGUMENT, "max_model_len"));
    expect(bad({ kvDtype: "fp8" })).toEqual(refused(-4, "kv_dtype"));
    expect(bad({ numThreads: 9999 })).toEqual(refused(ARGUMENT, "num_threads"));
  });

  test("refuses slot parameters by field", () => {
    const bad = (change: object, slot = 0) => failure(() => engine.setSlot(slot, { ...GREEDY, ...change }));
    expect(bad({}, 4)).toEqual(refused(ARGUMENT, "slot"));
    expect(bad({ temperature: -1 })).toEqual(refused(ARGUMENT, "temperature"));
    expect(bad({ temperature: Number.NaN })).toEqual(refused(ARGUMENT, "temperature"));
    expect(bad({ topP: 0 })).toEqual(refused(ARGUMENT, "top_p"));
    expect(bad({ minP: 2 })).toEqual(refused(ARGUMENT, "min_p"));
    expect(bad({ topK: -2 })).toEqual(refused(ARGUMENT, "top_k"));
    expect(bad({ repetitionPenalty: 0 })).toEqual(refused(ARGUMENT, "repetition_penalty"));
    expect(bad({ stopIds: [100_000] })).toEqual(refused(ARGUMENT, "stop_ids"));
    expect(bad({ logitBias: [[-1, 0]] })).toEqual(refused(ARGUMENT, "logit_bias_ids"));
    expect(bad({ outputTokens: Int32Array.of(-3) })).toEqual(refused(ARGUMENT, "output_tokens"));
  });

  test("refuses a step by field and stays usable", () => {
    const good: SequenceStep = { ids: [5, 6, 7], start: 14, blocks: [3, 9], rows: [{ token: 2, slot: 0 }] };
    engine.setSlot(0, GREEDY);
    const words = packStep([good], { blockSize: 16 });
    const at = new StepLayout().layOut(3, 1, 1, 2, 0);
    const cases: [word: number, value: number, field: string][] = [
      [STEP.version, ABI_VERSION + 1, "version"],
      [STEP.numTokens, 129, "num_tokens"],
      [STEP.numTokens, -1, "num_tokens"],
      [STEP.numSeqs, 5, "num_seqs"],
      [STEP.numRows, 65, "num_rows"],
      [STEP.tableStride, 2 ** 30, "num_words"],
      [STEP.numCopies, 1, "num_words"],
      [STEP.flags, 8, "flags"],
      [STEP.numWords, 7, "num_words"],
      [at.inputIds, 512, "input_ids"],
      [at.inputIds, -5, "input_ids"],
      [at.inputIds, -2, "input_ids"],
      [at.positions, 15, "positions"],
      [at.positions + 1, 14, "positions"],
      [at.slotMapping, 0, "slot_mapping"],
      [at.cuSeqlens, 1, "cu_seqlens"],
      [at.cuSeqlens + 1, 2, "cu_seqlens"],
      [at.contextLens, 18, "positions"],
      [at.contextLens, 0, "context_lens"],
      [at.blockTables, 64, "block_tables"],
      [at.blockTables + 1, -1, "block_tables"],
      [at.rowTokens, 3, "row_tokens"],
      [at.rowTokens, -1, "row_tokens"],
      [at.rowSlots, 4, "row_slots"],
      [at.rowSlots, -1, "row_slots"],
      [at.rowSlots, 2, "row_slots"],
      [at.rowTargets, 512, "row_targets"],
      [at.rowTops, 21, "row_tops"],
      [at.rowDrafts, 512, "row_drafts"],
    ];
    for (const [word, value, field] of cases) {
      const bad = words.slice();
      bad[word] = value;
      expect(
        failure(() => engine.submit(bad)),
        `word ${word} = ${value}`,
      ).toEqual(refused(ARGUMENT, field));
    }
    expect(failure(() => engine.submit(words.slice(0, 10)))).toEqual(refused(ARGUMENT, "num_words"));
    expect(failure(() => engine.submit(packStep([good], { blockSize: 16, copies: [[0, 64]] })))).toEqual(
      refused(ARGUMENT, "copies"),
    );
    expect(runStep(engine, [good]).tokens).toHaveLength(1);
  });

  test("refuses rows of a slot that are not adjacent, or belong to two sequences", () => {
    for (const slot of [0, 1]) engine.setSlot(slot, GREEDY);
    const rows = [0, 1, 0].map((slot, token) => ({ token, slot }));
    const one: SequenceStep = { ids: [5, 6, 7], start: 0, blocks: [0], rows };
    expect(failure(() => engine.submit(packStep([one], { blockSize: 16 })))).toEqual(refused(ARGUMENT, "row_slots"));
    const two = [0, 1].map((block) => ({ ids: [5], start: 0, blocks: [block], rows: [{ token: 0, slot: 1 }] }));
    expect(failure(() => engine.submit(packStep(two, { blockSize: 16 })))).toEqual(refused(ARGUMENT, "row_slots"));
  });

  test("takes two steps in flight, in any order of waiting, each ticket once", () => {
    engine.setSlot(0, GREEDY);
    const step = packStep([{ ids: [5], start: 0, blocks: [0], rows: [{ token: 0, slot: 0 }] }], { blockSize: 16 });
    const next = packStep([{ ids: [-1], start: 1, blocks: [0], rows: [{ token: 0, slot: 0 }] }], { blockSize: 16 });
    const tickets = [engine.submit(step), engine.submit(next)] as const;
    expect(failure(() => engine.submit(next))).toEqual(refused(STATE, "two steps"));
    const results = [new StepResult(1).words, new StepResult(1).words] as const;
    engine.wait(tickets[1], results[1]);
    expect(failure(() => engine.wait(tickets[0], new Int32Array(4)))).toEqual(refused(ARGUMENT, "num_words"));
    engine.wait(tickets[0], results[0]);
    expect(failure(() => engine.wait(tickets[0], results[0]))).toEqual(refused(STATE, "ticket"));
    // The same tokens with a wait in between.
    engine.setSlot(0, GREEDY);
    const first = runStep(engine, [{ ids: [5], start: 0, blocks: [0], rows: [{ token: 0, slot: 0 }] }]).tokens[0]!;
    const second = runStep(engine, [{ ids: [first], start: 1, blocks: [0], rows: [{ token: 0, slot: 0 }] }]).tokens[0]!;
    expect([results[0][0], results[1][0]]).toEqual([first, second]);
  });

  test("a reset forgets slots and tickets and keeps working", () => {
    engine.setSlot(0, GREEDY);
    const step = packStep([{ ids: [5], start: 0, blocks: [0], rows: [{ token: 0, slot: 0 }] }], { blockSize: 16 });
    const ticket = engine.submit(step);
    engine.reset();
    expect(failure(() => engine.wait(ticket, new StepResult(1).words))).toEqual(refused(STATE, "ticket"));
    expect(failure(() => engine.submit(step))).toEqual(refused(ARGUMENT, "row_slots"));
    engine.setSlot(0, GREEDY);
    const next = packStep([{ ids: [-1], start: 0, blocks: [0], rows: [{ token: 0, slot: 0 }] }], { blockSize: 16 });
    expect(failure(() => engine.submit(next))).toEqual(refused(ARGUMENT, "input_ids"));
    engine.wait(engine.submit(step), new StepResult(1).words);
  });

  test("logits are there only for the step that asked for them", () => {
    const sequence: SequenceStep = { ids: [5], start: 0, blocks: [0], rows: [{ token: 0, target: 9, top: 2 }] };
    runStep(engine, [sequence]);
    const out = new Float32Array(512);
    expect(failure(() => engine.logits(out))).toEqual(refused(STATE, "logits"));
    runStep(engine, [sequence], { returnLogits: true });
    expect(failure(() => engine.logits(out.subarray(1)))).toEqual(refused(ARGUMENT, "num_floats"));
    engine.logits(out);
    expect(out.some((x) => x !== 0)).toBe(true);
  });

  test("an empty step, and one without rows, are steps", () => {
    expect(runStep(engine, []).tokens).toHaveLength(0);
    expect(runStep(engine, [{ ids: [1, 2], start: 0, blocks: [0], rows: [] }]).tokens).toHaveLength(0);
  });

  test("profiling counts steps and tokens always, stages when on", () => {
    const off = engine.profile(false);
    runStep(engine, [{ ids: [1, 2], start: 0, blocks: [0], rows: [{ token: 1, target: 1 }] }]);
    const on = engine.profile(true);
    expect([on.steps - off.steps, on.tokens - off.tokens]).toEqual([1, 2]);
    expect(on.stepNs).toBeGreaterThan(off.stepNs);
    expect(on.stages).toEqual(off.stages);
    runStep(engine, [{ ids: [1, 2], start: 0, blocks: [0], rows: [{ token: 1, target: 1 }] }]);
    const after = engine.profile(false);
    const { numLayers, hiddenSize, numHeads, numKvHeads, headDim } = plan.spec;
    expect(after.stages.qkv!.ns).toBeGreaterThan(0);
    const qkvRows = (numHeads + 2 * numKvHeads) * headDim;
    expect(after.stages.qkv!.ops - on.stages.qkv!.ops).toBe(2 * numLayers * hiddenSize * qkvRows);
    expect(after.stages.lm_head!.bytes - on.stages.lm_head!.bytes).toBeGreaterThan(0);
  });
});
