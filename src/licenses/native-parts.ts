import { readFileSync } from "node:fs";

/** A part of the binary that npm does not know of by itself. */
export interface NativePart {
  readonly name: string;
  readonly version?: string;
  /** An SPDX expression, or words where there is none. */
  readonly license: string;
  readonly url?: string;
}

const BUN_LICENSE = "node_modules/bun-types/docs/project/license.mdx";
const KITOKEN_WASM = "node_modules/kitoken/dist/web_bg.wasm";
const KERNELS = "build/libscalellm_cpu.so";

/** SPDX's names for what Bun's own list says in words. */
const SPDX: ReadonlyArray<readonly [RegExp, string]> = [
  [/^MIT( licensed)?$/, "MIT"],
  [/^BSD 3-Clause$/, "BSD-3-Clause"],
  [/^BSD 2-Clause$/, "BSD-2-Clause"],
  [/^Apache 2\.0( licensed)?$/, "Apache-2.0"],
  [/^LGPL v2\.1$/, "LGPL-2.1-only"],
  [/^zlib$/, "Zlib"],
];

export function bunVersion(): string {
  return JSON.parse(readFileSync("node_modules/bun/package.json", "utf8")).version;
}

/** Bun's statement of its own license and of what it is linked with, as Markdown; it comes with the types of each version. */
export function bunStatement(): string {
  return readFileSync(BUN_LICENSE, "utf8")
    .replace(/^---\n.*?\n---\n/s, "")
    .trim();
}

/** What Bun is linked with, from the tables of its statement. */
export function bunParts(): NativePart[] {
  const parts = [...bunStatement().matchAll(/^\| (?!Library|Package|-)(.+?) +\| (.+?) +\|$/gm)].map(
    ([, cell, license]) => {
      const link = /\[`?([^`\]]+)`?\]\(([^)]+)\)/.exec(cell!);
      const words = license!.replace(/\[([^\]]+)\]\([^)]+\)/g, "$1");
      return {
        name: link?.[1] ?? cell!,
        license: SPDX.find(([pattern]) => pattern.test(words))?.[1] ?? words,
        ...(link === null ? {} : { url: link[2]! }),
      };
    },
  );
  if (parts.length < 40) throw new Error(`${BUN_LICENSE} has another form than it had: ${parts.length} parts found`);
  return [{ name: "JavaScriptCore", license: "LGPL-2.0-or-later", url: "https://github.com/oven-sh/webkit" }, ...parts];
}

/** The Rust crates compiled into kitoken's WebAssembly, which names their sources. Throws for one whose license is not known. */
export function kitokenCrates(): NativePart[] {
  const licenses: Record<string, string> = JSON.parse(readFileSync("src/licenses/crates.json", "utf8"));
  const found = readFileSync(KITOKEN_WASM, "latin1").matchAll(
    /registry\/src\/[^/]+\/([a-z0-9_-]+?)-(\d+\.\d+\.\d+)\//g,
  );
  const crates = new Map(
    [...found].map(([, name, version]) => [`${name} ${version}`, { name: name!, version: version! }]),
  );
  const std = { name: "rust-std", license: "MIT OR Apache-2.0", url: "https://www.rust-lang.org" };
  return [
    std,
    ...[...crates.values()]
      .sort((a, b) => a.name.localeCompare(b.name))
      .map(({ name, version }) => {
        const license = licenses[name];
        if (license === undefined) throw new Error(`add the license of the crate ${name} to src/licenses/crates.json`);
        return { name, version, license, url: `https://crates.io/crates/${name}` };
      }),
  ];
}

/** GCC's runtime, linked statically into the kernels, of the version that compiled them. */
export function gccRuntime(): NativePart[] {
  const version = /GCC: \([^)]*\) (\d+\.\d+\.\d+)/.exec(readFileSync(KERNELS, "latin1"))?.[1];
  if (version === undefined) throw new Error(`${KERNELS} does not say which GCC compiled it`);
  const license = "GPL-3.0-or-later WITH GCC-exception-3.1";
  return ["libstdc++", "libgcc"].map((name) => ({ name, version, license, url: "https://gcc.gnu.org" }));
}
