import { expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { openModel } from "../../../src/model/open-model.ts";
import { NativeRunner } from "../../backend/native-runner.ts";
import { Random } from "../random.ts";
import { readTensors } from "../read-tensors.ts";
import { relativeError } from "../relative-error.ts";
import { TempFolder } from "../temp-folder.ts";
import type { GgufValue } from "./gguf-writer.ts";
import { writeGoldenAsGguf } from "./golden-as-gguf.ts";

const scaling = (type: string, factor: number): Record<string, GgufValue> => ({
  "scaling.type": { string: type },
  "scaling.factor": { f32: factor },
});

/** llama3's scaling as the converter writes it: a divisor for each frequency (factor 8, low 1, high 4, 64 positions). */
function llama3Divisors(headDim: number, theta: number): number[] {
  return Array.from({ length: headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / headDim);
    if (wavelength < 64 / 4) return 1;
    if (wavelength > 64) return 8;
    const smooth = (64 / wavelength - 1) / (4 - 1);
    return 1 / ((1 - smooth) / 8 + smooth);
  });
}

const GOLDENS: Record<string, Record<string, GgufValue | number[]>> = {
  "tiny-llama": { freq_base: { f32: 10_000 } },
  "tiny-llama-linear": scaling("linear", 2),
  "tiny-llama-yarn": { ...scaling("yarn", 8), "scaling.original_context_length": { u32: 64 } },
  "tiny-llama3-tied": { freq_base: { f32: 500_000 }, rope_freqs: llama3Divisors(16, 500_000) },
  "tiny-mistral-window": {},
  "tiny-mixtral": { freq_base: { f32: 1_000_000 } },
  "tiny-qwen2": {},
  "tiny-qwen3": {},
  "tiny-qwen3-moe": {},
};

for (const [name, rope] of Object.entries(GOLDENS)) {
  test(`${name} as a GGUF file gives the same logits`, async () => {
    using folder = new TempFolder();
    const path = folder.file("golden.gguf");
    const source = `test/fixtures/goldens/${name}`;
    writeGoldenAsGguf(source, path, rope);
    const { plan } = openModel(path);
    expect(plan.tensors.some(({ ropeHeads }) => ropeHeads > 0)).toBe(!name.includes("qwen"));
    const golden = readTensors(`${source}/golden.safetensors`);
    using runner = await NativeRunner.open(plan, { weights: "float32", kv: "float32", maxModelLen: 320 });
    const vocab = plan.spec.vocabSize;
    const reference = golden.get("logits_4") as Float32Array;
    runner.prefill(golden.get("prompt_4") as Int32Array, { chunk: 64, every: 1 }, (position, logits) => {
      const error = relativeError(logits, reference.subarray(position * vocab, (position + 1) * vocab));
      if (!(error < 1e-4)) throw new Error(`position ${position}: error ${error}`);
    });
  });
}

test("weights are read where they lie inside another file, unaligned", async () => {
  using folder = new TempFolder();
  const path = folder.file("golden.gguf");
  writeGoldenAsGguf("test/fixtures/goldens/tiny-llama", path);
  const gguf = readFileSync(path);
  const before = Buffer.alloc(4097, 0xa5);
  writeFileSync(path, Buffer.concat([before, gguf, Buffer.alloc(99, 0xa5)]));
  const { plan } = openModel({ path, baseOffset: before.length, length: gguf.length });
  const golden = readTensors("test/fixtures/goldens/tiny-llama/golden.safetensors");
  using runner = await NativeRunner.open(plan, { weights: "float32", kv: "float32", maxModelLen: 64 });
  expect(runner.greedy(golden.get("prompt_1") as Int32Array, 32)).toEqual([...golden.get("greedy_1")!]);
});

/** tiny-llama with random biases on q, k, v, o: a checkpoint with attention_bias. */
function writeBiased(folder: string): void {
  cpSync("test/fixtures/goldens/tiny-llama", folder, { recursive: true });
  const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
  writeFileSync(`${folder}/config.json`, JSON.stringify({ ...config, attention_bias: true }));
  const bytes = readFileSync(`${folder}/model.safetensors`);
  const dataStart = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString("utf8", 8, dataStart));
  const parts = [bytes.subarray(dataStart)];
  let end = parts[0]!.length;
  const random = new Random(11);
  for (let layer = 0; layer < 3; layer++) {
    for (const [matrix, size] of Object.entries({ q: 64, k: 32, v: 32, o: 64 })) {
      // The upper halves of float32 are bfloat16.
      const values = Float32Array.from({ length: size }, () => random.next() - 0.5);
      const data = Buffer.from(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer);
      const name = `model.layers.${layer}.self_attn.${matrix}_proj.bias`;
      header[name] = { dtype: "BF16", shape: [size], data_offsets: [end, end + data.length] };
      end += data.length;
      parts.push(data);
    }
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(`${folder}/model.safetensors`, Buffer.concat([length, json, ...parts]));
}

test("biases are interleaved with their rows", async () => {
  using folder = new TempFolder();
  writeBiased(folder.path);
  const path = folder.file("biased.gguf");
  writeGoldenAsGguf(folder.path, path);
  const golden = readTensors("test/fixtures/goldens/tiny-llama/golden.safetensors");
  const prompt = golden.get("prompt_2") as Int32Array;
  const logitsOf = async (place: string) => {
    const { plan } = openModel(place);
    expect(plan.tensors.filter(({ role }) => role.endsWith("_bias"))).toHaveLength(12);
    using runner = await NativeRunner.open(plan, { weights: "float32", kv: "float32", maxModelLen: 64 });
    const rows: Float32Array[] = [];
    runner.prefill(prompt, { chunk: 64, every: 1 }, (_, logits) => void rows.push(logits.slice()));
    return rows;
  };
  const fromFolder = await logitsOf(folder.path);
  const fromGguf = await logitsOf(path);
  const plain = golden.get("logits_2") as Float32Array;
  fromGguf.forEach((row, i) => {
    expect(relativeError(row, fromFolder[i]!)).toBeLessThan(1e-5);
    // The biases do something.
    expect(relativeError(row, plain.subarray(i * row.length, (i + 1) * row.length))).toBeGreaterThan(0.1);
  });
});
