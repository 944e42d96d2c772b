import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { openCheckpoint } from "../../../src/model/safetensors/open-checkpoint.ts";
import { TempFolder } from "../temp-folder.ts";
import { tensor, writeSafetensors } from "./safetensors-writer.ts";

const FIRST = "model-00001-of-00002.safetensors";
const SECOND = "model-00002-of-00002.safetensors";

function writeIndex(folder: TempFolder, weightMap: Record<string, unknown>): void {
  const json = JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap });
  writeFileSync(folder.file("model.safetensors.index.json"), json);
}

test("one file", () => {
  using folder = new TempFolder();
  expect(() => openCheckpoint(folder.path)).toThrow("has neither model.safetensors nor");
  writeSafetensors(folder.file("model.safetensors"), { a: tensor("F32", 2) });
  const stored = openCheckpoint(folder.path);
  expect(stored.paths).toEqual([folder.file("model.safetensors")]);
  expect([...stored.byName.keys()]).toEqual(["a"]);
});

test("shards by their index", () => {
  using folder = new TempFolder();
  writeSafetensors(folder.file(FIRST), { a: tensor("F32", 2), b: tensor("BF16", 3) });
  writeSafetensors(folder.file(SECOND), { c: tensor("F32", 4) });
  writeIndex(folder, { a: FIRST, b: FIRST, c: SECOND });
  const stored = openCheckpoint(folder.path);
  expect(stored.paths).toEqual([folder.file(FIRST), folder.file(SECOND)]);
  expect(stored.byName.get("c")).toMatchObject({ file: 1, shape: [4] });

  writeIndex(folder, { a: FIRST, b: SECOND, c: SECOND });
  expect(() => openCheckpoint(folder.path)).toThrow(`weight_map.b: names ${SECOND}, but it is in ${FIRST}`);
  writeIndex(folder, { a: FIRST, b: FIRST, c: SECOND, d: SECOND });
  expect(() => openCheckpoint(folder.path)).toThrow("d: is missing");
  writeIndex(folder, { a: FIRST, c: "model-00003-of-00002.safetensors" });
  expect(() => openCheckpoint(folder.path)).toThrow("cannot be opened (ENOENT)");
  writeSafetensors(folder.file(SECOND), { c: tensor("F32", 4), a: tensor("F32", 2) });
  writeIndex(folder, { a: FIRST, b: FIRST, c: SECOND });
  expect(() => openCheckpoint(folder.path)).toThrow("a: is in two shards");
});

test("an index cannot lead out of its folder", () => {
  using folder = new TempFolder();
  for (const shard of ["../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", "weights.bin"]) {
    writeIndex(folder, { a: shard });
    expect(() => openCheckpoint(folder.path)).toThrow("which is not a shard's name");
  }
  writeIndex(folder, { a: 7 });
  expect(() => openCheckpoint(folder.path)).toThrow("weight_map.a: is not a string");
});
