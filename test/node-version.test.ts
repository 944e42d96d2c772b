import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import manifest from "../package.json" with { type: "json" };

/** What Debian 12 has: building, serving and testing must work with it. */
const OLDEST_NODE = "18.19.0";
/** The packages whose commands the Makefile runs on node; everything else runs in bun. */
const RUN_ON_NODE = ["typescript", "@biomejs/biome", "clang-format", "@bufbuild/buf", "bun"];

test("package.json, the README and the tools agree on the oldest node", () => {
  expect(Bun.semver.satisfies(OLDEST_NODE, manifest.engines.node)).toBe(true);
  expect(Bun.semver.satisfies("17.9.1", manifest.engines.node)).toBe(false);
  expect(readFileSync("README.md", "utf8")).toContain("`node` 18");
  for (const name of RUN_ON_NODE) {
    const { engines } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
    if (engines?.node !== undefined)
      expect([name, Bun.semver.satisfies(OLDEST_NODE, engines.node)]).toEqual([name, true]);
  }
});

test("the Makefile runs nothing else on node", () => {
  const commands = [...readFileSync("Makefile", "utf8").matchAll(/node_modules\/\.bin\/([\w-]+)/g)].map(
    ([, name]) => name!,
  );
  expect([...new Set(commands)].sort()).toEqual(["biome", "buf", "bun", "clang-format", "tsc"]);
});
