/**
 * The bundled model against transformers in float32 (test/fixtures/reference): the float32 path is the reference itself,
 * the quantised path stays within the project's limits.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { KvDtype, WeightFormat } from "../../src/backend/abi.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import { createNativeEngine } from "../../src/backend/native-backend.ts";
import { freeNativeModel, loadNativeModel } from "../../src/backend/native-model.ts";
import { openModel } from "../../src/model/open-model.ts";
import { GREEDY, logitsOf, runStep } from "./step.ts";
import { floats, ids, readTensors } from "./tensors.ts";

interface Reference {
  texts: Record<string, { mean_nll: number }>;
  chats: { ids: number[]; greedy: number[]; margins: number[] }[];
}

const FIXTURES = join(import.meta.dir, "../fixtures/reference");
const reference = JSON.parse(readFileSync(join(FIXTURES, "reference.json"), "utf8")) as Reference;
const tensors = readTensors(join(FIXTURES, "reference.safetensors"));
const { plan } = openModel(join(import.meta.dir, "../../models/SmolLM2-135M-Instruct.Q4_1.gguf"));
const library = await locateLibrary();
const CHUNK = 512;

interface Limits {
  weights: WeightFormat;
  kv: KvDtype;
  /** Mean KL divergence over the reference's positions, nats. */
  meanKl: number;
  /** Perplexity over the texts pooled, relative to the reference's. */
  perplexity: number;
  /** Greedy tokens must be the reference's where its top-1 margin is above this. */
  margin: number;
}

const PATHS: Limits[] = [
  { weights: "float32", kv: "float32", meanKl: 2e-5, perplexity: 1e-4, margin: 1e-3 },
  { weights: "auto", kv: "float16", meanKl: 2e-3, perplexity: 5e-3, margin: 1.5 },
];

function divergence(target: Float32Array, logits: Float32Array): number {
  const logTotal = (x: Float32Array) => {
    const most = x.reduce((a, b) => Math.max(a, b));
    return most + Math.log(x.reduce((a, b) => a + Math.exp(b - most), 0));
  };
  const shift = [logTotal(target), logTotal(logits)] as const;
  return target.reduce((sum, x, i) => sum + Math.exp(x - shift[0]) * (x - shift[0] - logits[i]! + shift[1]), 0);
}

describe.each(PATHS)("weights $weights, KV $kv", ({ weights, kv, meanKl, perplexity, margin }) => {
  const model = loadNativeModel(plan, { libraryPath: library, weightFormat: weights });
  const engine = createNativeEngine(model, {
    numThreads: 0,
    blockSize: 16,
    numBlocks: 160,
    kvDtype: kv,
    maxNumSeqs: 1,
    maxBatchedTokens: CHUNK,
    maxLogitRows: CHUNK,
    maxModelLen: 2048,
  });
  const blocks = Int32Array.from({ length: 128 }, (_, i) => i);
  afterAll(() => {
    engine.close();
    freeNativeModel(model);
  });

  test("mean KL and pooled perplexity", () => {
    let [kl, positions, excess, scored] = [0, 0, 0, 0];
    for (const name of Object.keys(reference.texts)) {
      const text = ids(tensors, `${name}.ids`);
      const nll = floats(tensors, `${name}.nll`);
      for (let start = 0; start < text.length; start += CHUNK) {
        const part = text.subarray(start, start + CHUNK);
        const rows = Array.from(part, (_, i) => ({ token: i, target: text[start + i + 1] ?? 0, top: 0 }));
        const { logprobs } = runStep(engine, [{ ids: part, start, blocks, rows }]);
        for (let i = start; i < Math.min(start + CHUNK, nll.length); i++) excess -= logprobs[i - start]! + nll[i]!;
      }
      scored += nll.length;
      const logits = floats(tensors, `${name}.logits`);
      for (const [i, position] of ids(tensors, `${name}.positions`).entries()) {
        const id = text.subarray(position, position + 1);
        const out = logitsOf(engine, [{ ids: id, start: position, blocks, rows: [{ token: 0, target: 0 }] }]);
        kl += divergence(logits.subarray(i * model.vocabSize, (i + 1) * model.vocabSize), out);
        positions++;
      }
    }
    console.log(`weights ${weights}: mean KL ${(kl / positions).toExponential(2)} over ${positions} positions,`);
    console.log(`perplexity x${Math.exp(excess / scored).toFixed(5)} over ${scored} tokens`);
    expect(kl / positions).toBeLessThan(meanKl);
    expect(Math.abs(Math.exp(excess / scored) - 1)).toBeLessThan(perplexity);
  }, 240_000);

  test("greedy chats follow the reference wherever its margin is clear", () => {
    for (const chat of reference.chats) {
      engine.setSlot(0, GREEDY);
      let input = chat.ids;
      let start = 0;
      for (const [i, expected] of chat.greedy.entries()) {
        const rows = [{ token: input.length - 1, slot: 0 }];
        const token = runStep(engine, [{ ids: input, start, blocks, rows }]).tokens[0];
        if (chat.margins[i]! > margin) expect(token, `token ${i} of ${chat.ids.length}`).toBe(expected);
        // Teacher-forced, so that one near-tie does not end the comparison.
        start += input.length;
        input = [expected];
      }
    }
  }, 120_000);
});
