import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { locateLibrary } from "../../src/backend/library.ts";
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
