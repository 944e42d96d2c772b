import { expect, test } from "bun:test";
import { BlockHash } from "../../src/engine/block-hash.ts";
import { type ChainTail, PrefixCache } from "../../src/engine/prefix-cache.ts";
import { range } from "./fixture.ts";

const BLOCK = 4;

const chain = (salt = 0): ChainTail => ({ block: -1, generation: 0, lo: 0, hi: 0, salt, broken: false });
const newCache = (hash = new BlockHash(1)) => new PrefixCache(16, BLOCK, hash);

/** Publishes whole blocks of tokens in the given blocks; returns what the cache says to use. */
function publish(cache: PrefixCache, tokens: number[], blocks: number[], tail = chain()): number[] {
  return blocks.map((block, i) => cache.publish(tail, Int32Array.from(tokens), i * BLOCK, block));
}

function match(cache: PrefixCache, tokens: number[], salt = 0): number[] {
  const out = new Int32Array(16);
  return [...out.subarray(0, cache.match(Int32Array.from(tokens), tokens.length, salt, out))];
}

/** A hash that finds everything alike: only comparison can tell. */
class Colliding extends BlockHash {
  override update(): void {
    this.lo = 0;
    this.hi = 0;
  }
}

test("finds the longest cached prefix, and stops a token short of the end", () => {
  const cache = newCache();
  publish(cache, range(0, 12), [3, 1, 2]);
  expect(match(cache, range(0, 13))).toEqual([3, 1, 2]);
  expect(match(cache, range(0, 12))).toEqual([3, 1]);
  expect(match(cache, [...range(0, 8), 99, 9, 10, 11, 12])).toEqual([3, 1]);
  expect(match(cache, range(1, 13))).toEqual([]);
});

test("token ids are compared in full, all the way up, even if every hash collides", () => {
  const cache = newCache(new Colliding(1));
  publish(cache, range(0, 8), [0, 1]);
  publish(cache, [...range(50, 54), ...range(4, 8)], [2, 3]);
  expect(match(cache, [...range(0, 8), 0])).toEqual([0, 1]);
  expect(match(cache, [...range(50, 54), ...range(4, 8), 0])).toEqual([2, 3]);
  expect(match(cache, [...range(60, 64), ...range(4, 8), 0])).toEqual([]);
});

test("salts keep tenants apart", () => {
  const cache = newCache(new Colliding(1));
  publish(cache, range(0, 8), [0, 1], chain(1));
  expect(match(cache, range(0, 9), 2)).toEqual([]);
  expect(match(cache, range(0, 9), 1)).toEqual([0, 1]);
});

test("a block computed twice is kept once", () => {
  const cache = newCache();
  expect(publish(cache, range(0, 8), [0, 1])).toEqual([0, 1]);
  expect(publish(cache, [...range(0, 4), 9, 9, 9, 9], [2, 3])).toEqual([0, 3]);
  expect(cache.numCached).toBe(3);
});

test("evicts the least recently used idle block, leaves before roots", () => {
  const cache = newCache();
  publish(cache, range(0, 12), [0, 1, 2]);
  // As a sequence gives its blocks back: last first.
  for (const block of [2, 1, 0]) cache.makeIdle(block);
  expect([...cache.idleBlocks()]).toEqual([2, 1, 0]);
  // Used again, then given back.
  cache.makeBusy(0);
  cache.makeBusy(1);
  cache.makeIdle(1);
  cache.makeIdle(0);
  expect([cache.evict(), cache.evict(), cache.evict(), cache.evict()]).toEqual([2, 1, 0, -1]);
  expect(cache.numCached + cache.numIdle).toBe(0);
  expect(match(cache, range(0, 13))).toEqual([]);
});

test("what follows an evicted block is not found, and cannot be added to", () => {
  const cache = newCache();
  const tail = chain();
  publish(cache, range(0, 8), [0, 1], tail);
  // Behind a sliding window the start goes first.
  cache.makeIdle(0);
  expect(cache.evict()).toBe(0);
  expect(match(cache, range(0, 9))).toEqual([]);
  // Another sequence begins with the same tokens in the same memory: the old child is no child of it.
  publish(cache, range(0, 4), [0]);
  expect(match(cache, range(0, 9))).toEqual([0]);
  expect(cache.liveParent(1)).toBe(-1);

  cache.makeIdle(1);
  cache.evict();
  expect(cache.publish(tail, Int32Array.from(range(0, 12)), 8, 2)).toBe(-1);
  expect(tail.broken).toBe(true);
});

test("the hash depends on seed, salt, order and every token", () => {
  const hashOf = (seed: number, salt: number, tokens: number[]) => {
    const hash = new BlockHash(seed);
    hash.start(salt);
    hash.update(Int32Array.from(tokens), 0, tokens.length);
    return `${hash.lo} ${hash.hi}`;
  };
  const all = [
    hashOf(1, 0, [1, 2, 3]),
    hashOf(2, 0, [1, 2, 3]),
    hashOf(1, 1, [1, 2, 3]),
    hashOf(1, 0, [2, 1, 3]),
    hashOf(1, 0, [1, 2, 4]),
  ];
  expect(new Set(all).size).toBe(all.length);
  const many = new Set(Array.from({ length: 100_000 }, (_, i) => hashOf(7, 0, [i % 317, (i / 317) | 0])));
  expect(many.size).toBe(100_000);
});
