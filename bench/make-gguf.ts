/**
 * Writes GGUF checkpoints of random weights, for formats and architectures that the bundled model does not have.
 *
 *   bun bench/make-gguf.ts FOLDER/NAME.gguf ...     NAME is one of RANDOM_SHAPES or LARGE_SHAPES (test/model/gguf/random-gguf.ts)
 */
import { mkdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { LARGE_SHAPES, RANDOM_SHAPES, type RandomShape, writeRandomGguf } from "../test/model/gguf/random-gguf.ts";

const shapes = new Map<string, RandomShape>(Object.entries({ ...RANDOM_SHAPES, ...LARGE_SHAPES }));
const paths = Bun.argv.slice(2);
const shapeOf = (path: string): RandomShape | undefined => shapes.get(basename(path, ".gguf"));
if (paths.length === 0 || paths.some((path) => shapeOf(path) === undefined)) {
  console.error(`usage: bun bench/make-gguf.ts FOLDER/NAME.gguf ...; names are ${[...shapes.keys()].join(", ")}`);
  process.exit(2);
}
for (const path of paths) {
  mkdirSync(dirname(path), { recursive: true });
  writeRandomGguf(path, shapeOf(path)!);
  console.log(`${path}: ${(Bun.file(path).size / 1e6).toFixed(0)} MB`);
}
