import { expect, test } from "bun:test";
import { openModel } from "../../src/model/open-model.ts";
import { NativeRunner } from "../backend/native-runner.ts";
import { divergence } from "./divergence.ts";
import { readTensors } from "./read-tensors.ts";

/** test/fixtures/reference: float32 results of transformers on this very file. */
const REFERENCE = "test/fixtures/reference/reference";
const TEXTS = ["prose", "code", "multilingual", "table", "long"];
const MAX_MODEL_LEN = 2048;
/** Positions compared by KL divergence, those with stored logits (every 64th) among them. All take four times as long. */
const EVERY = 4;
/** Slow shared machines: float32 arithmetic over 3479 tokens. */
const TIMEOUT_MS = 600_000;

interface Chat {
  ids: number[];
  greedy: number[];
  margins: number[];
}

const { plan } = openModel("models/SmolLM2-135M-Instruct.Q4_1.gguf");
const reference = readTensors(`${REFERENCE}.safetensors`);
const chats: Chat[] = (await Bun.file(`${REFERENCE}.json`).json()).chats;

test(
  "the bundled model: float32 is the reference, the default precision stays close to it",
  async () => {
    using exact = await NativeRunner.open(plan, { weights: "float32", kv: "float32", maxModelLen: MAX_MODEL_LEN });
    using served = await NativeRunner.open(plan, { weights: "auto", kv: "auto", maxModelLen: MAX_MODEL_LEN });
    let storedCount = 0;
    let klSum = 0;
    let klCount = 0;
    let nllSum = 0;
    let nllReference = 0;
    let nllCount = 0;
    for (const text of TEXTS) {
      const ids = reference.get(`${text}.ids`) as Int32Array;
      const nll = reference.get(`${text}.nll`)!;
      const positions = [...reference.get(`${text}.positions`)!];
      const logits = reference.get(`${text}.logits`) as Float32Array;
      const vocab = plan.spec.vocabSize;

      const exactRows = new Map<number, Float32Array>();
      exact.prefill(ids, { chunk: 128, every: EVERY }, (position, row, nextLogprob) => {
        exactRows.set(position, row.slice());
        const expected = nll[position];
        if (expected !== undefined && !(Math.abs(-nextLogprob - expected) < 1e-3)) {
          throw new Error(`${text}, position ${position}: float32 nll ${-nextLogprob}, reference ${expected}`);
        }
        const stored = positions.indexOf(position);
        if (stored < 0) return;
        storedCount++;
        // The reference's logits are float16, whose rounding alone is about 1e-5.
        const kl = divergence(logits.subarray(stored * vocab, (stored + 1) * vocab), row);
        if (!(kl < 1e-4)) throw new Error(`${text}, position ${position}: float32 differs from the reference by ${kl}`);
      });
      served.prefill(ids, { chunk: 128, every: 1 }, (position, row, nextLogprob) => {
        if (position < nll.length) {
          nllSum -= nextLogprob;
          nllReference += nll[position]!;
          nllCount++;
        }
        const exactRow = exactRows.get(position);
        if (exactRow === undefined) return;
        klSum += divergence(exactRow, row);
        klCount++;
      });
    }
    expect(storedCount).toBe(52);
    expect(klCount).toBeGreaterThan(800);
    expect(klSum / klCount).toBeLessThan(2.0e-3);
    expect(Math.abs(Math.exp((nllSum - nllReference) / nllCount) - 1)).toBeLessThan(0.005);

    for (const { ids, greedy, margins } of chats) {
      const prompt = Int32Array.from(ids);
      expect(exact.greedy(prompt, greedy.length)).toEqual(greedy);
      const tokens = served.greedy(prompt, greedy.length);
      const differs = tokens.findIndex((token, i) => token !== greedy[i]);
      // After the first difference it is another text; the reference must have been near a tie there.
      if (differs >= 0) expect(margins[differs]).toBeLessThan(0.25);
    }
  },
  TIMEOUT_MS,
);
