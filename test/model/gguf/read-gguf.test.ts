import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { FileSource } from "../../../src/model/file-source.ts";
import { readGguf } from "../../../src/model/gguf/read-gguf.ts";
import { ModelError } from "../../../src/model/model-error.ts";
import { TempFolder } from "../temp-folder.ts";
import { type GgufSpec, text, u32, u64, writeGguf } from "./gguf-writer.ts";
import { f32Tensor, q8Tensor } from "./tiny-gguf.ts";

function parse(bytes: Buffer) {
  using folder = new TempFolder();
  const path = folder.file("model.gguf");
  writeFileSync(path, bytes);
  const source = new FileSource(path);
  try {
    return readGguf(source, 0);
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

function specWith(changes: Partial<GgufSpec>): Buffer {
  const tensors = [f32Tensor("a", 3, 4), q8Tensor("b", 2, 64)];
  return writeGguf({ metadata: {}, tensors, ...changes }).bytes;
}

const RICH: GgufSpec = {
  metadata: {
    "general.architecture": { string: "llama" },
    count: { u32: 7 },
    big: { u64: 2n ** 60n },
    small: { i32: -3 },
    real: { f32: 0.5 },
    yes: { bool: true },
    names: { strings: ["", "é", "long ".repeat(50)] },
    ints: { i32s: [1, -2, 3] },
    floats: { f32s: [0.5, -0.25] },
  },
  tensors: [f32Tensor("a", 3, 4), q8Tensor("b", 2, 64), f32Tensor("c", 5)],
};

test("values of every kind and tensors are read, in versions 2 and 3", () => {
  for (const version of [2, 3]) {
    const { bytes, headerBytes } = writeGguf({ ...RICH, version });
    const { metadata, tensors } = parse(bytes);
    expect(metadata.string("general.architecture")).toBe("llama");
    expect(metadata.int("count", 0, 10)).toBe(7);
    expect(metadata.raw("big")).toBe(2n ** 60n);
    expect(metadata.int("small", -10, 10)).toBe(-3);
    expect(metadata.float("real")).toBe(0.5);
    expect(metadata.bool("yes")).toBe(true);
    expect(metadata.strings("names")).toEqual(["", "é", "long ".repeat(50)]);
    expect([...metadata.numbers("ints")!]).toEqual([1, -2, 3]);
    expect([...metadata.numbers("floats")!]).toEqual([0.5, -0.25]);
    const dataStart = Math.ceil(headerBytes / 32) * 32;
    expect(tensors).toEqual([
      { name: "a", shape: [3, 4], dtype: "f32", file: 0, offset: dataStart, numBytes: 48 },
      { name: "b", shape: [2, 64], dtype: "q8_0", file: 0, offset: dataStart + 64, numBytes: 136 },
      { name: "c", shape: [5], dtype: "f32", file: 0, offset: dataStart + 224, numBytes: 20 },
    ]);
  }
});

test("a model inside another file, at any alignment", () => {
  using folder = new TempFolder();
  const { bytes } = writeGguf(RICH);
  const path = folder.file("executable");
  const before = Buffer.alloc(1017, 0x5a);
  writeFileSync(path, Buffer.concat([before, bytes, Buffer.alloc(333, 0x5a)]));
  const source = new FileSource({ path, baseOffset: before.length, length: bytes.length });
  const embedded = readGguf(source, 0);
  source.close();
  const alone = parse(bytes);
  expect(embedded.tensors).toEqual(
    alone.tensors.map((tensor) => ({ ...tensor, offset: tensor.offset + before.length })),
  );
  // The bytes after the region are not the model's.
  const short = new FileSource({ path, baseOffset: before.length, length: bytes.length - 1 });
  expect(() => readGguf(short, 0)).toThrow("cut short");
  short.close();
  expect(() => new FileSource({ path, baseOffset: 1, length: before.length + bytes.length + 333 })).toThrow("outside");
});

test("general.alignment moves the data", () => {
  const { bytes, headerBytes } = writeGguf({ ...RICH, metadata: { "general.alignment": { u32: 256 } } });
  const [a, b] = parse(bytes).tensors;
  expect(a!.offset).toBe(Math.ceil(headerBytes / 256) * 256);
  expect(b!.offset - a!.offset).toBe(256);
  expect(failure(specWith({ metadata: { "general.alignment": { u32: 48 } } })).message).toContain("power of two");
  expect(failure(specWith({ metadata: { "general.alignment": { u32: 0 } } })).field).toBe("general.alignment");
  const huge = specWith({ metadata: { "general.alignment": { u32: 2 ** 31 } }, tensors: [], numTensors: 0n });
  expect(failure(huge).field).toBe("general.alignment");
});

test("every truncation is an error", () => {
  using folder = new TempFolder();
  const { bytes } = writeGguf(RICH);
  const path = folder.file("model.gguf");
  writeFileSync(path, bytes);
  for (let length = 0; length < bytes.length; length++) {
    const source = new FileSource({ path, baseOffset: 0, length });
    expect(() => readGguf(source, 0)).toThrow(ModelError);
    source.close();
  }
});

test("headers that claim too much", () => {
  expect(failure(specWith({ numTensors: 2n ** 63n })).message).toContain("number of tensors");
  expect(failure(specWith({ numKeys: 2n ** 40n })).message).toContain("number of metadata keys");
  expect(failure(specWith({ numTensors: 3n })).message).toContain("tensor 3 of 3: has an empty name");
  const hugeString = Buffer.concat([u32(8), u64(2n ** 62n)]);
  expect(failure(specWith({ metadata: { key: { raw: hugeString } } })).field).toBe("key");
  const longString = Buffer.concat([u32(8), u64(10_000_000)]);
  expect(failure(specWith({ metadata: { key: { raw: longString } } })).message).toContain("the file ends early");
  const hugeArray = Buffer.concat([u32(9), u32(6), u64(4_000_000)]);
  expect(failure(specWith({ metadata: { key: { raw: hugeArray } } })).message).toContain("array of 4000000 elements");
  const endlessArray = Buffer.concat([u32(9), u32(6), u64(2n ** 40n)]);
  expect(failure(specWith({ metadata: { key: { raw: endlessArray } } })).message).toContain("the array's length");
});

test("unknown and broken values", () => {
  expect(failure(Buffer.alloc(40, "GGML")).message).toContain("not a GGUF file");
  expect(failure(specWith({ version: 1 })).message).toContain("version 1");
  expect(failure(specWith({ version: 0x03000000 })).message).toContain("big-endian");
  expect(failure(specWith({ metadata: { key: { raw: u32(13) } } })).message).toContain("unknown value type 13");
  expect(failure(specWith({ metadata: { key: { raw: Buffer.from([7, 0, 0, 0, 2]) } } })).message).toContain(
    "boolean of 2",
  );
  const nested = Buffer.concat([u32(9), u32(9), u64(1)]);
  expect(failure(specWith({ metadata: { key: { raw: nested } } })).message).toContain("nests arrays");
  const twice = Buffer.concat([u32(4), u32(1), text("key"), u32(4), u32(2)]);
  expect(failure(specWith({ metadata: { key: { raw: twice } }, numKeys: 2n })).message).toContain("occurs twice");
});

test("tensors that cannot be", () => {
  const with1 = (...tensors: GgufSpec["tensors"]) => failure(specWith({ tensors })).message;
  const a = f32Tensor("a", 8);
  expect(with1(a, f32Tensor("a", 8))).toContain("a: is listed twice");
  expect(with1({ ...a, offset: 4n })).toContain("not a multiple of 32");
  expect(with1(a, { ...f32Tensor("b", 8), offset: 0n })).toContain("overlaps");
  expect(with1({ ...a, offset: 2n ** 50n })).toContain("cut short");
  expect(with1({ ...a, offset: 2n ** 63n })).toContain("the offset");
  expect(with1({ ...a, shape: [2 ** 40, 2 ** 40] })).toContain("impossible shape");
  expect(with1({ ...a, shape: [0] })).toContain("impossible shape");
  expect(with1({ ...a, shape: [1, 1, 1, 1, 8] })).toContain("5 dimensions");
  expect(with1({ ...a, shape: [] })).toContain("0 dimensions");
  expect(with1({ ...q8Tensor("q", 2, 64), shape: [2, 48] })).toContain("rows of 48");
  expect(with1({ ...a, type: 11 })).toContain("a: has the type Q3_K; supported are F32, F16");
  expect(with1({ ...a, type: 4 })).toContain("number 4");
  expect(with1({ ...a, type: 1000 })).toContain("number 1000");
});
