import { expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { locateLibrary } from "../../src/backend/library.ts";
import { systemFingerprint } from "../../src/cli/system-fingerprint.ts";
import { openModel } from "../../src/model/open-model.ts";
import { TempFolder } from "../model/temp-folder.ts";

test("the fingerprint is that of build, checkpoint and kernels", async () => {
  using folder = new TempFolder();
  const golden = join(import.meta.dir, "../fixtures/goldens/tiny-llama");
  cpSync(golden, folder.path, { recursive: true });
  const parts = { version: "1.2.3", libraryPath: await locateLibrary(), kernels: { isa: "avx2" } };
  const of = (changed: Partial<typeof parts> = {}, path = folder.path) =>
    systemFingerprint(openModel(path), { ...parts, ...changed });
  const first = of();
  expect(first).toMatch(/^fp_[0-9a-f]{10}$/);
  // Where the files lie does not matter.
  expect(of({}, golden)).toBe(first);
  expect(of({ version: "1.2.4" })).not.toBe(first);
  expect(of({ kernels: { isa: "avx512" } })).not.toBe(first);
  expect(of({ libraryPath: import.meta.path })).not.toBe(first);
  const weights = folder.file("model.safetensors");
  const bytes = readFileSync(weights);
  for (let i = bytes.length / 2; i < bytes.length; i++) bytes[i]! ^= 1;
  writeFileSync(weights, bytes);
  expect(of()).not.toBe(first);
});
