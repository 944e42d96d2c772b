import { expect, test } from "bun:test";
import { Glob } from "bun";

/** The import rules of src/ARCHITECTURE.md: each layer, and the layers it may import. */
const OPEN = ["core", "config"];
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: ["core"],
  config: ["config", "core"],
  gen: [],
  licenses: ["licenses"],
  metrics: ["metrics"],
  backend: ["backend", "model"],
  model: ["model"],
  engine: ["engine", "model", "backend"],
  text: ["text", "model"],
  replica: ["replica", "text", "engine", "metrics", "gen"],
  gateway: ["gateway", "replica", "text", "metrics"],
  http: ["http", "gateway", "replica", "text", "metrics", "gen"],
  bench: ["bench"],
  cli: ["cli", "http", "gateway", "replica", "text", "engine", "model", "backend", "metrics", "gen", "bench"],
  "main.ts": ["cli"],
};
/** Packages and globals that live in one place. */
const CONFINED: ReadonlyArray<readonly [RegExp, RegExp]> = [
  [/from "bun:ffi"/, /^backend\/ffi\.ts$/],
  [/from "elysia"/, /^http\//],
  [/from "@connectrpc\//, /^(http|replica\/remote)\//],
  [/process\.env/, /^config\//],
  [/Date\.now\(|performance\.now\(/, /^core\/clock\.ts$/],
];

const files = [...new Glob("**/*.ts").scanSync("src")].filter((file) => !file.startsWith("gen/")).sort();

function layerOf(file: string): string {
  return file.split("/")[0]!;
}

test("every import goes downward", async () => {
  const wrong: string[] = [];
  for (const file of files) {
    const layer = layerOf(file);
    const allowed = [...(MAY_IMPORT[layer] ?? []), ...(layer === "core" ? [] : OPEN)];
    const source = await Bun.file(`src/${file}`).text();
    for (const [, specifier] of source.matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/g)) {
      const target = new URL(specifier!, `file:///src/${file}`).pathname.slice("/src/".length);
      // Outside src/: embedded files (the library, the bundled model).
      if (target.startsWith("/") || !(await Bun.file(`src/${target}`).exists())) continue;
      if (!allowed.includes(layerOf(target))) wrong.push(`${file} imports ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("confined packages stay where they belong", async () => {
  const wrong: string[] = [];
  for (const file of files) {
    const source = await Bun.file(`src/${file}`).text();
    for (const [pattern, home] of CONFINED) {
      if (pattern.test(source) && !home.test(file)) wrong.push(`${file} uses ${pattern.source}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("the top level holds what a newcomer expects, and nothing else", () => {
  const folders = [".ci", "bench", "docs", "kernels", "models", "proto", "src", "test"];
  const { stdout } = Bun.spawnSync(["git", "ls-files"]);
  const inFolders = stdout
    .toString()
    .split("\n")
    .filter((path) => path.includes("/"));
  const found = new Set(inFolders.map((path) => path.split("/")[0]!));
  expect([...found].filter((folder) => !folders.includes(folder))).toEqual([]);
});
