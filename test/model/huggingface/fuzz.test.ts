import { expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ModelError } from "../../../src/model/model-error.ts";
import { openModel } from "../../../src/model/open-model.ts";
import { Random } from "../random.ts";
import { TempFolder } from "../temp-folder.ts";

const NASTY = [
  null,
  true,
  -1,
  0,
  1,
  1.5,
  3,
  1e9,
  1e300,
  -1e300,
  "",
  "x",
  [],
  [null],
  {},
  { type: "yarn" },
  "__proto__",
];
const FILES = ["config.json", "generation_config.json", "tokenizer_config.json"];

for (const name of [
  "tiny-llama-yarn",
  "tiny-qwen2",
  "tiny-qwen3-moe",
  "tiny-qwen3-fp8-block",
  "tiny-llama-fp8-channel",
]) {
  test(`${name}: damaged JSON is refused or harmless`, () => {
    using folder = new TempFolder();
    cpSync(join("test/fixtures/goldens", name), folder.path, { recursive: true });
    const random = new Random(name.length);
    let refused = 0;
    for (const file of FILES) {
      const path = folder.file(file);
      const original = readFileSync(path, "utf8");
      for (let round = 0; round < 150; round++) {
        const json = JSON.parse(original);
        for (let hits = 1 + random.int(2); hits > 0; hits--) damage(json, random);
        writeFileSync(path, JSON.stringify(json));
        if (isRefused(folder.path)) refused++;
      }
      for (let round = 0; round < 20; round++) {
        writeFileSync(path, original.slice(0, random.int(original.length - 1)));
        expect(isRefused(folder.path)).toBe(true);
      }
      writeFileSync(path, original);
    }
    expect(refused).toBeGreaterThan(60);
    expect(isRefused(folder.path)).toBe(false);
  });
}

/** Replaces or removes a field somewhere in an object. */
function damage(json: Record<string, unknown>, random: Random): void {
  const key = random.pick(Object.keys(json));
  const value = json[key];
  const isObject =
    value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0;
  if (isObject && random.next() < 0.7) damage(value as Record<string, unknown>, random);
  else if (random.next() < 0.2) delete json[key];
  else json[key] = random.pick(NASTY);
  if (Object.keys(json).length === 0) json.left = 1;
}

function isRefused(folder: string): boolean {
  try {
    openModel(folder);
    return false;
  } catch (error) {
    if (error instanceof ModelError) return true;
    throw error;
  }
}
