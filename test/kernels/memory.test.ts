import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { locateLibrary } from "../../src/backend/library.ts";
import { createNativeEngine } from "../../src/backend/native-backend.ts";
import { freeNativeModel, loadNativeModel } from "../../src/backend/native-model.ts";
import { openModel } from "../../src/model/open-model.ts";

const { plan } = openModel(join(import.meta.dir, "../../models/SmolLM2-135M-Instruct.Q4_1.gguf"));
const library = await locateLibrary();

/** A field of /proc/self/status in bytes. */
function memory(field: "VmRSS" | "VmHWM"): number {
  const line = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync("/proc/self/status", "utf8"));
  return Number(line![1]) * 1024;
}

test("loading keeps the weights once, and never holds much more", () => {
  Bun.gc(true);
  writeFileSync("/proc/self/clear_refs", "5"); // the high-water mark starts again
  const before = memory("VmRSS");
  const model = loadNativeModel(plan, { libraryPath: library, weightFormat: "auto" });
  const slack = 24e6;
  expect(memory("VmRSS") - before).toBeLessThan(model.info.weightBytes + slack);
  expect(memory("VmHWM") - before).toBeLessThan(model.info.weightBytes + slack);
  freeNativeModel(model);
  expect(memory("VmRSS") - before).toBeLessThan(slack);
});

test("an engine's memory becomes resident when it is touched, and goes back block by block", () => {
  const model = loadNativeModel(plan, { libraryPath: library, weightFormat: "auto" });
  const numBlocks = 256;
  const engine = createNativeEngine(model, {
    numThreads: 1,
    blockSize: 16,
    numBlocks,
    kvDtype: "float16",
    maxNumSeqs: 8,
    maxBatchedTokens: 512,
    maxLogitRows: 64,
    maxModelLen: 512,
  });
  const { kvBlockBytes, workspaceBytes } = engine.info;
  const all = workspaceBytes + numBlocks * kvBlockBytes;
  const slack = 8e6;
  Bun.gc(true);
  const before = memory("VmRSS");
  const resident = () => memory("VmRSS") - before;
  const slice = 10_000_000;
  let at = 0;
  for (let calls = 0; at % slice === 0; calls++) {
    expect(calls).toBeLessThan(100);
    expect(resident()).toBeLessThan(at + slack);
    at = engine.touch(numBlocks, at, slice);
  }
  expect(at).toBe(all);
  expect(engine.touch(numBlocks, at, slice)).toBe(all);
  // The workspace may lie where other things did before, and be resident from the start.
  const touched = resident();
  expect(touched).toBeGreaterThan(numBlocks * kvBlockBytes - slack);
  expect(touched).toBeLessThan(all + slack);
  // All but the pages that neighbours share, two a layer.
  engine.release(32, 192);
  expect(Math.abs(touched - resident() - 192 * kvBlockBytes)).toBeLessThan(slack);
  for (const [first, count] of [
    [-1, 1],
    [0, numBlocks + 1],
    [numBlocks, 1],
    [5, -1],
  ] as const) {
    expect(() => engine.release(first, count)).toThrow("not blocks of the cache");
  }
  expect(() => engine.touch(numBlocks + 1, 0, 1)).toThrow("more than the cache has");
  engine.close();
  freeNativeModel(model);
});
