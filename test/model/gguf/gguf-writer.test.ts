import { expect, test } from "bun:test";
import { readFileSync, statSync } from "node:fs";
import { FileSource } from "../../../src/model/file-source.ts";
import { readGguf } from "../../../src/model/gguf/read-gguf.ts";
import { TempFolder } from "../temp-folder.ts";
import { type GgufSpec, writeGguf, writeGgufFile } from "./gguf-writer.ts";

test("in pieces or at once, a file is the same", () => {
  using folder = new TempFolder();
  const path = folder.file("x.gguf");
  const data = Buffer.from(Array.from({ length: 400 }, (_, i) => i & 255));
  const spec = (tensor: object): GgufSpec => ({
    metadata: { "general.architecture": { string: "llama" } },
    tensors: [
      { name: "first", shape: [100], type: 0, numBytes: 400, ...tensor },
      { name: "second", shape: [25], type: 0, numBytes: 100, data: data.subarray(50, 150) },
    ],
  });
  writeGgufFile(path, spec({ pieces: () => [data.subarray(0, 3), data.subarray(3, 399), data.subarray(399)] }));
  expect(readFileSync(path).equals(writeGguf(spec({ data })).bytes)).toBe(true);
});

test("a file of more than 4 GB: every tensor where its offset says", () => {
  using folder = new TempFolder();
  const path = folder.file("x.gguf");
  const huge = 3 * 2 ** 30;
  const mark = (text: string) => [Buffer.from(text)];
  writeGgufFile(path, {
    metadata: {},
    tensors: ["one", "two", "three"].map((name) => ({
      name,
      shape: [huge / 4],
      type: 0,
      numBytes: huge,
      pieces: () => mark(name),
    })),
  });
  expect(statSync(path).size).toBeGreaterThan(9 * 2 ** 30);
  // Holes take no room.
  expect(statSync(path).blocks * 512).toBeLessThan(2 ** 20);
  const source = new FileSource(path);
  const { tensors } = readGguf(source, 0);
  for (const [i, name] of ["one", "two", "three"].entries()) {
    const { offset } = tensors[i]!;
    expect(offset).toBeGreaterThanOrEqual(i * huge);
    expect(Buffer.from(source.read(offset, name.length)).toString()).toBe(name);
  }
  source.close();
});
