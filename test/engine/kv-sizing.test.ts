import { expect, test } from "bun:test";
import { refuseTooLarge, sizeKvCache } from "../../src/engine/kv-sizing.ts";

const GIB = 1024 ** 3;
const sizing = {
  blockBytes: 1024 * 1024,
  blockSize: 16,
  kvCacheMemoryBytes: 0,
  availableMemoryBytes: 8 * GIB,
  maxModelLen: 8192,
  maxNumSeqs: 64,
};

test("a quarter of the free memory by default, at most 4 GiB", () => {
  expect(sizeKvCache(sizing)).toEqual({ numBlocks: 2048, maxModelLen: 8192 });
  expect(sizeKvCache({ ...sizing, availableMemoryBytes: 1000 * GIB }).numBlocks).toBe(4096);
});

test("no more than all sequences at their longest could use", () => {
  expect(sizeKvCache({ ...sizing, maxModelLen: 160, maxNumSeqs: 4 }).numBlocks).toBe(40);
});

test("what was asked for is taken as it is", () => {
  expect(sizeKvCache({ ...sizing, kvCacheMemoryBytes: 100 * GIB }).numBlocks).toBe(100 * 1024);
});

test("a cache that cannot hold one sequence clips the context", () => {
  expect(sizeKvCache({ ...sizing, kvCacheMemoryBytes: 100 * 1024 * 1024 })).toEqual({
    numBlocks: 100,
    maxModelLen: 1600,
  });
});

test("a cache of next to nothing is an error that says how much it is", () => {
  expect(() => sizeKvCache({ ...sizing, kvCacheMemoryBytes: 1024 * 1024 })).toThrow("hold 1 blocks of 1048576 bytes");
});

test("weights that cannot fit in what the process may use are refused with both sizes and the limit", () => {
  const limited = { totalMemoryBytes: 500e6, memoryLimit: "/sys/fs/cgroup/a/memory.max" };
  expect(() => refuseTooLarge(550e6, "auto", limited)).toThrow(
    "The weights take 0.55 GB of memory, but this process may use 0.50 GB (/sys/fs/cgroup/a/memory.max).",
  );
  expect(() => refuseTooLarge(550e6, "auto", { ...limited, memoryLimit: "" })).toThrow("but this machine has 0.50 GB.");
  // They may be packed smaller than the file.
  refuseTooLarge(550e6, "int8", limited);
  refuseTooLarge(550e6, "auto", { ...limited, totalMemoryBytes: 551e6 });
});
