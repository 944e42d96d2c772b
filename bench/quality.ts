// How far the served precision is from float32, over every position of the reference texts: `make bench-quality`.
// The reference is our own float32 path, which the tests hold to transformers' logits. Prints a row a text.
import type { WeightFormat } from "../src/backend/abi.ts";
import { openModel } from "../src/model/open-model.ts";
import { NativeRunner } from "../test/backend/native-runner.ts";
import { divergence } from "../test/model/divergence.ts";
import { readTensors } from "../test/model/read-tensors.ts";

const REFERENCE = "test/fixtures/reference/reference";
const TEXTS = ["prose", "code", "multilingual", "table", "long"];
const MAX_MODEL_LEN = 2048;
const CHUNK = 128;

interface Score {
  positions: number;
  kl: number[];
  sameTop: number;
  nll: number;
  nllReference: number;
}

interface Chat {
  ids: number[];
  greedy: number[];
  margins: number[];
}

const served = (Bun.argv[2] ?? "auto") as WeightFormat;
const { plan } = openModel("models/SmolLM2-135M-Instruct.Q4_1.gguf");
const reference = readTensors(`${REFERENCE}.safetensors`);
const { chats } = (await Bun.file(`${REFERENCE}.json`).json()) as { chats: Chat[] };
using exact = await NativeRunner.open(plan, { weights: "float32", kv: "float32", maxModelLen: MAX_MODEL_LEN });
using tested = await NativeRunner.open(plan, { weights: served, kv: "auto", maxModelLen: MAX_MODEL_LEN });

function argmax(row: Float32Array): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}

function scoreText(text: string): Score {
  const ids = reference.get(`${text}.ids`) as Int32Array;
  const nll = reference.get(`${text}.nll`) as Float32Array;
  const score: Score = { positions: ids.length, kl: [], sameTop: 0, nll: 0, nllReference: 0 };
  // A chunk at a time: all rows of a long text in float32 would be 200 kB a position.
  const rows: Float32Array[] = [];
  exact.prefill(ids, { chunk: CHUNK, every: 1 }, (position, row) => void (rows[position] = row.slice()));
  tested.prefill(ids, { chunk: CHUNK, every: 1 }, (position, row, nextLogprob) => {
    const expected = rows[position]!;
    score.kl.push(divergence(expected, row));
    if (argmax(expected) === argmax(row)) score.sameTop++;
    if (position < nll.length) {
      score.nll -= nextLogprob;
      score.nllReference += nll[position]!;
    }
    delete rows[position];
  });
  return score;
}

function line(name: string, score: Score): string {
  const sorted = score.kl.toSorted((a, b) => a - b);
  const mean = sorted.reduce((sum, kl) => sum + kl, 0) / sorted.length;
  const count = score.positions - 1;
  const cells = [
    mean.toExponential(2),
    sorted[Math.floor(sorted.length * 0.99)]!.toExponential(2),
    `${((100 * score.sameTop) / score.positions).toFixed(1)}%`,
    Math.exp((score.nll - score.nllReference) / count).toFixed(4),
  ];
  return `${name.padEnd(14)}${String(score.positions).padStart(9)}${cells.map((cell) => cell.padStart(12)).join("")}`;
}

console.log(`${tested.model.info.isa}, weights ${served}, KV float16, against float32\n`);
console.log(`${"text".padEnd(14)}positions     mean KL      p99 KL    same top   ppl ratio`);
const pooled: Score = { positions: 0, kl: [], sameTop: 0, nll: 0, nllReference: 0 };
for (const text of TEXTS) {
  const score = scoreText(text);
  console.log(line(text, score));
  pooled.positions += score.positions;
  pooled.kl.push(...score.kl);
  pooled.sameTop += score.sameTop;
  pooled.nll += score.nll;
  pooled.nllReference += score.nllReference;
}
console.log(line("pooled", pooled));

console.log("\nGreedy chats: tokens equal to float32's before the first difference, and float32's margin there");
for (const { ids, greedy, margins } of chats) {
  const tokens = tested.greedy(Int32Array.from(ids), greedy.length);
  const differs = tokens.findIndex((token, i) => token !== greedy[i]);
  console.log(
    differs < 0 ? `  all ${greedy.length}` : `  ${differs} of ${greedy.length}, margin ${margins[differs]!.toFixed(2)}`,
  );
}
