import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { KvDtype } from "../../src/backend/abi.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import { createNativeEngine, type NativeBackend } from "../../src/backend/native-backend.ts";
import { freeNativeModel, loadNativeModel, type NativeModel } from "../../src/backend/native-model.ts";
import { openModel } from "../../src/model/open-model.ts";
import { generator, integer, permutation, seed } from "./random.ts";
import { GREEDY, logitsOf, runStep, type SequenceStep } from "./step.ts";
import { floats, ids, readTensors } from "./tensors.ts";

const GOLDENS = join(import.meta.dir, "../fixtures/goldens");
const names = readdirSync(GOLDENS).filter((name) => statSync(join(GOLDENS, name)).isDirectory());
const NUM_PROMPTS = 5;
const BLOCK = 16;
const library = await locateLibrary();

interface EngineOptions {
  threads?: number;
  kv?: KvDtype;
  blockSize?: number;
}

function engineOf(model: NativeModel, options: EngineOptions = {}): NativeBackend {
  const blockSize = options.blockSize ?? BLOCK;
  return createNativeEngine(model, {
    numThreads: options.threads ?? 2,
    blockSize,
    numBlocks: 4096 / blockSize,
    kvDtype: options.kv ?? "float32",
    maxNumSeqs: 8,
    maxBatchedTokens: 1024,
    maxLogitRows: 1024,
    maxModelLen: 512,
  });
}

const everyRow = (count: number) => Array.from({ length: count }, (_, token) => ({ token, target: 0 }));

function relativeError(out: Float32Array, reference: Float32Array): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < out.length; i++) {
    difference += (out[i]! - reference[i]!) ** 2;
    norm += reference[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** The prompt's logits when it goes through in chunks of the given sizes. */
function chunked(backend: NativeBackend, prompt: Int32Array, blocks: Int32Array, sizes: () => number): Float32Array {
  const vocab = backend.info.vocabSize;
  const out = new Float32Array(prompt.length * vocab);
  for (let start = 0; start < prompt.length; ) {
    const size = Math.min(sizes(), prompt.length - start);
    const chunk = { ids: prompt.subarray(start, start + size), start, blocks, rows: everyRow(size) };
    out.set(logitsOf(backend, [chunk]), start * vocab);
    start += size;
  }
  return out;
}

describe.each(names)("%s", (name) => {
  const model = loadNativeModel(openModel(join(GOLDENS, name)).plan, { libraryPath: library, weightFormat: "float32" });
  const golden = readTensors(join(GOLDENS, name, "golden.safetensors"));
  const prompts = Array.from({ length: NUM_PROMPTS }, (_, i) => ids(golden, `prompt_${i}`));
  const random = generator(seed);
  const backend = engineOf(model);
  const one = engineOf(model, { threads: 1, blockSize: 8 });
  const table = () => permutation(backend.info.numBlocks, random).subarray(0, 32);
  const whole = prompts.map((prompt) =>
    logitsOf(backend, [{ ids: prompt, start: 0, blocks: table(), rows: everyRow(prompt.length) }]),
  );
  afterAll(() => {
    backend.close();
    one.close();
    freeNativeModel(model);
  });

  test("every position's logits match the reference", () => {
    const vocab = model.vocabSize;
    prompts.forEach((prompt, i) => {
      const reference = floats(golden, `logits_${i}`);
      for (let t = 0; t < prompt.length; t++) {
        const row = (logits: Float32Array) => logits.subarray(t * vocab, (t + 1) * vocab);
        expect(relativeError(row(whole[i]!), row(reference)), `prompt ${i} position ${t}`).toBeLessThan(1e-4);
      }
    });
  });

  test(`any chunking, thread count, block size and block table give the same bits (seed ${seed})`, () => {
    const sizes = [() => 1, () => integer(1, 9, random), () => integer(1, 100, random), () => 1000];
    prompts.forEach((prompt, i) => {
      for (const size of prompt.length > 100 ? sizes.slice(1) : sizes) {
        expect(chunked(backend, prompt, table(), size), `prompt ${i}`).toEqual(whole[i]!);
      }
      const blocks = permutation(one.info.numBlocks, random).subarray(0, 64);
      expect(
        chunked(one, prompt, blocks, () => integer(1, 200, random)),
        `prompt ${i}, one thread`,
      ).toEqual(whole[i]!);
    });
  });

  test(`a batch gives the same bits as each alone (seed ${seed})`, () => {
    const blocks = permutation(backend.info.numBlocks, random);
    const vocab = model.vocabSize;
    const all = prompts.map((prompt, i) => ({
      ids: prompt,
      start: 0,
      blocks: blocks.subarray(i * 32, i * 32 + 32),
      rows: everyRow(prompt.length),
    }));
    const logits = logitsOf(backend, all);
    let at = 0;
    prompts.forEach((prompt, i) => {
      expect(logits.subarray(at, at + prompt.length * vocab), `prompt ${i}`).toEqual(whole[i]!);
      at += prompt.length * vocab;
    });
    // Only some rows, in a mixed batch: the middle of one prompt, the end of the others.
    const part = all.map((sequence, i) => ({
      ...sequence,
      rows: [{ token: prompts[i]!.length >> (i % 2), target: 0 }],
    }));
    for (const sequence of part) sequence.rows[0]!.token = Math.min(sequence.rows[0]!.token, sequence.ids.length - 1);
    const some = logitsOf(backend, part);
    part.forEach((sequence, i) => {
      const t = sequence.rows[0]!.token;
      expect(some.subarray(i * vocab, (i + 1) * vocab)).toEqual(whole[i]!.subarray(t * vocab, (t + 1) * vocab));
    });
  });

  test.if(backend.info.slidingWindow > 0)("blocks before the sliding window are not read", () => {
    const prompt = prompts[NUM_PROMPTS - 1]!;
    const start = prompt.length - 3;
    const blocks = table();
    const rest = { ids: prompt.subarray(start), start, rows: everyRow(3) };
    chunked(backend, prompt, blocks, () => 50);
    const freed = blocks.map((b, i) => ((i + 1) * BLOCK <= start - backend.info.slidingWindow + 1 ? -1 : b));
    expect(freed.filter((b) => b < 0).length).toBeGreaterThan(10);
    const logits = logitsOf(backend, [{ ...rest, blocks: freed }]);
    expect(logits).toEqual(whole[NUM_PROMPTS - 1]!.subarray(start * model.vocabSize));
  });

  test("greedy continuations match, all prompts decoding together", () => {
    const blocks = permutation(backend.info.numBlocks, random);
    const outputs: number[][] = prompts.map(() => []);
    for (const slot of prompts.keys()) backend.setSlot(slot, GREEDY);
    const decode = (step: number): SequenceStep[] =>
      prompts.map((prompt, slot) => ({
        ids: step === 0 ? prompt : [-1 - slot],
        start: step === 0 ? 0 : prompt.length + step - 1,
        blocks: blocks.subarray(slot * 32, slot * 32 + 32),
        rows: [{ token: step === 0 ? prompt.length - 1 : 0, slot }],
      }));
    for (let step = 0; step < 32; step++) {
      const { tokens } = runStep(backend, decode(step));
      for (const [slot, output] of outputs.entries()) output.push(tokens[slot]!);
    }
    for (const [i, output] of outputs.entries()) expect(output, `prompt ${i}`).toEqual([...ids(golden, `greedy_${i}`)]);
  });
});
