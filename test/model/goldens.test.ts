import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { openModel } from "../../src/model/open-model.ts";
import { NativeRunner } from "../backend/native-runner.ts";
import { readTensors } from "./read-tensors.ts";
import { relativeError } from "./relative-error.ts";

const GOLDENS = "test/fixtures/goldens";
const NUM_PROMPTS = 5;
/** ||out - ref|| / ||ref|| at one position, for exact float32 arithmetic in another order. */
const MAX_RELATIVE_ERROR = 1e-4;

for (const name of readdirSync(GOLDENS).filter((entry) => entry.startsWith("tiny-"))) {
  test(`${name}: logits and greedy tokens are those of transformers`, async () => {
    const golden = readTensors(`${GOLDENS}/${name}/golden.safetensors`);
    const { plan } = openModel(`${GOLDENS}/${name}`);
    using runner = await NativeRunner.open(plan, { weights: "float32", kv: "float32", maxModelLen: 320 });
    const vocab = plan.spec.vocabSize;
    for (let i = 0; i < NUM_PROMPTS; i++) {
      const prompt = golden.get(`prompt_${i}`) as Int32Array;
      const reference = golden.get(`logits_${i}`) as Float32Array;
      // Chunks of 37 end inside blocks of 16.
      runner.prefill(prompt, { chunk: 37, every: 1 }, (position, logits) => {
        const error = relativeError(logits, reference.subarray(position * vocab, (position + 1) * vocab));
        if (!(error < MAX_RELATIVE_ERROR)) throw new Error(`prompt ${i}, position ${position}: error ${error}`);
      });
      expect([i, ...runner.greedy(prompt, 32)]).toEqual([i, ...golden.get(`greedy_${i}`)!]);
    }
  });
}
