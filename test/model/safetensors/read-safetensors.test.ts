import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { FileSource } from "../../../src/model/file-source.ts";
import { ModelError } from "../../../src/model/model-error.ts";
import { readSafetensors } from "../../../src/model/safetensors/read-safetensors.ts";
import { Random } from "../random.ts";
import { TempFolder } from "../temp-folder.ts";
import { layOut, safetensorsBytes, tensor } from "./safetensors-writer.ts";

function parse(bytes: Buffer) {
  using folder = new TempFolder();
  const path = folder.file("model.safetensors");
  writeFileSync(path, bytes);
  const source = new FileSource(path);
  try {
    return readSafetensors(source, 3);
  } finally {
    source.close();
  }
}

function failure(bytes: Buffer): ModelError {
  try {
    parse(bytes);
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
  throw new Error("the broken file was accepted");
}

const { header, dataBytes } = layOut({ a: tensor("F32", 2, 3), b: tensor("BF16", 5), s: tensor("F32") });
const GOOD = safetensorsBytes({ __metadata__: { format: "pt" }, ...header }, dataBytes);

test("places, shapes and types", () => {
  const start = GOOD.length - dataBytes;
  expect(parse(GOOD)).toEqual([
    { name: "a", shape: [2, 3], dtype: "f32", file: 3, offset: start, numBytes: 24 },
    { name: "b", shape: [5], dtype: "bf16", file: 3, offset: start + 24, numBytes: 10 },
    { name: "s", shape: [], dtype: "f32", file: 3, offset: start + 34, numBytes: 4 },
  ]);
});

test("every truncation, and bytes too many, are errors", () => {
  for (let length = 0; length < GOOD.length; length++) failure(GOOD.subarray(0, length));
  expect(failure(Buffer.concat([GOOD, Buffer.alloc(1)])).message).toContain("1 bytes after its last tensor");
});

test("headers that are not what they should be", () => {
  const huge = Buffer.from(GOOD);
  huge.writeBigUInt64LE(2n ** 63n, 0);
  expect(failure(huge).field).toBe("header length");
  huge.writeBigUInt64LE(99_000_000n, 0);
  expect(failure(huge).message).toContain("more than the file's");
  expect(failure(safetensorsBytes("[1, 2]", 0)).message).toContain("not a JSON object");
  expect(failure(safetensorsBytes("{", 0)).message).toContain("not JSON");
  expect(failure(safetensorsBytes(`{"a":${"[".repeat(200_000)}`, 0)).message).toContain("not JSON");
});

test("tensors that cannot be", () => {
  const good = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  const of = (entry: unknown, bytes = 8) => failure(safetensorsBytes({ t: entry }, bytes)).message;
  expect(of({ ...good, dtype: "F12" })).toContain('t: has the unknown dtype "F12"');
  expect(of({ ...good, dtype: "toString" })).toContain("unknown dtype");
  expect(of({ ...good, shape: [2.5] })).toContain("no valid shape");
  expect(of({ ...good, shape: [-2] })).toContain("no valid shape");
  expect(of({ ...good, shape: [2, 2] })).toContain("takes 16");
  expect(of({ ...good, shape: [2 ** 52, 2 ** 52] })).toContain("has 8 bytes");
  expect(of({ ...good, shape: Array(9).fill(1) })).toContain("no valid shape");
  expect(of({ ...good, data_offsets: [0, 16] })).toContain("cut short");
  expect(of({ ...good, data_offsets: [8, 0] })).toContain("cut short or broken");
  expect(of({ ...good, data_offsets: [0] })).toContain("no valid data_offsets");
  expect(of(null)).toContain("not described by an object");
  const pair = (b: [number, number]) =>
    failure(safetensorsBytes({ a: good, b: { ...good, data_offsets: b } }, 24)).message;
  expect(pair([4, 12])).toContain("b: overlaps another tensor");
  expect(pair([16, 24])).toContain("b: follows a hole");
});

test("damaged headers are refused or harmless", () => {
  const random = new Random(5);
  for (let round = 0; round < 500; round++) {
    const damaged = Buffer.from(GOOD);
    const end = GOOD.length - dataBytes;
    for (let hits = 1 + random.int(3); hits > 0; hits--) damaged[random.int(end)] = random.int(256);
    try {
      for (const { offset, numBytes } of parse(damaged)) expect(offset + numBytes).toBeLessThanOrEqual(GOOD.length);
    } catch (error) {
      expect(error).toBeInstanceOf(ModelError);
    }
  }
});
