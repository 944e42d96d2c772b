import { expect, test } from "bun:test";
import { BlockManager, type BlockManagerOptions } from "../../src/engine/block-manager.ts";
import type { Sequence } from "../../src/engine/sequence.ts";
import { account, makeSequence, range } from "./fixture.ts";

const BLOCK = 4;

function manager(options: Partial<BlockManagerOptions> = {}): BlockManager {
  return new BlockManager({
    numBlocks: 12,
    blockSize: BLOCK,
    numSlots: 4,
    maxModelLen: 48,
    slidingWindow: 0,
    prefixCaching: true,
    hashSeed: 1,
    ...options,
  });
}

function admit(blocks: BlockManager, sequence: Sequence, slot: number, parent?: Sequence): number[] {
  const copies: number[] = [];
  sequence.slot = slot;
  expect(blocks.canAdmit(sequence, parent, true, 0)).toBe(true);
  blocks.admit(sequence, parent, true, copies);
  return copies;
}

/** As if a step had computed tokens up to here. */
function compute(blocks: BlockManager, sequence: Sequence, numTokens = sequence.numTokens): void {
  sequence.numScheduled = numTokens;
  sequence.numCommitted = numTokens;
  blocks.commit(sequence);
}

const held = (blocks: BlockManager, sequence: Sequence) => [
  ...blocks.table(sequence.slot).subarray(sequence.firstBlock, sequence.numBlocks),
];

test("admits with blocks for every known token, and leaves the reserve alone", () => {
  const blocks = manager();
  const sequence = makeSequence(range(0, 17));
  expect(blocks.canAdmit(sequence, undefined, true, 7)).toBe(true);
  expect(blocks.canAdmit(sequence, undefined, true, 8)).toBe(false);
  admit(blocks, sequence, 0);
  expect(sequence.numBlocks).toBe(5);
  expect(blocks.numAvailable).toBe(7);
  blocks.checkInvariants([sequence]);
});

test("grows block by block while there are any", () => {
  const blocks = manager({ numBlocks: 2 });
  const sequence = makeSequence(range(0, 3));
  admit(blocks, sequence, 0);
  blocks.grow(sequence, 4);
  expect(sequence.numBlocks).toBe(1);
  expect(blocks.canGrow(sequence, 8)).toBe(true);
  blocks.grow(sequence, 5);
  expect(sequence.numBlocks).toBe(2);
  expect(blocks.canGrow(sequence, 9)).toBe(false);
  expect(() => blocks.grow(sequence, 9)).toThrow("no KV block");
});

test("nothing is shared before it is computed; then whole blocks are, short of the last token", () => {
  const blocks = manager();
  const first = makeSequence(range(0, 9));
  admit(blocks, first, 0);
  const early = makeSequence(range(0, 9));
  admit(blocks, early, 1);
  expect(early.numCommitted).toBe(0);
  compute(blocks, first);
  const late = makeSequence(range(0, 9));
  admit(blocks, late, 2);
  expect(late.numCommitted).toBe(8);
  expect(held(blocks, late).slice(0, 2)).toEqual(held(blocks, first).slice(0, 2));
  blocks.checkInvariants([first, early, late]);
  // The same prefix, computed twice: when it is done one copy remains.
  const before = blocks.numAvailable;
  compute(blocks, early);
  expect(blocks.numAvailable).toBe(before + 2);
  blocks.checkInvariants([first, early, late]);
});

test("released blocks stay cached until their memory is wanted, the leaves going first", () => {
  const blocks = manager({ numBlocks: 6 });
  const first = makeSequence(range(0, 16));
  admit(blocks, first, 0);
  compute(blocks, first);
  blocks.release(first);
  expect(blocks.numAvailable).toBe(6);
  expect(blocks.probe(Int32Array.from(range(0, 17)), 17, 0)).toBe(16);
  // Four blocks: two free ones and two of the cached, the last ones of the chain.
  const other = makeSequence(range(100, 116));
  admit(blocks, other, 0);
  expect(blocks.probe(Int32Array.from(range(0, 17)), 17, 0)).toBe(8);
  blocks.checkInvariants([other]);
  blocks.release(other);
  blocks.clearCache();
  expect(blocks.probe(Int32Array.from(range(0, 17)), 17, 0)).toBe(0);
  blocks.checkInvariants([]);
});

test("idle blocks that a sequence would share are not counted as available to it too", () => {
  const blocks = manager({ numBlocks: 4 });
  const first = makeSequence(range(0, 9));
  admit(blocks, first, 0);
  compute(blocks, first);
  blocks.release(first);
  const longer = makeSequence(range(0, 17));
  // It shares two and needs three more, of which only two are left.
  expect(blocks.canAdmit(longer, undefined, true, 0)).toBe(false);
});

test("another tenant finds nothing, unless tenants share", () => {
  const blocks = manager();
  const first = makeSequence(range(0, 9), { account: account("a", 1) });
  admit(blocks, first, 0);
  compute(blocks, first);
  const foreign = makeSequence(range(0, 9), { account: account("b", 2) });
  admit(blocks, foreign, 1);
  expect(foreign.numCommitted).toBe(0);
});

test("a second choice shares the prompt's blocks and copies the one that both would write to", () => {
  const blocks = manager({ prefixCaching: false });
  const first = makeSequence(range(0, 10));
  admit(blocks, first, 0);
  compute(blocks, first);
  first.promptSubmitted = true;
  expect(blocks.canFork(first)).toBe(true);
  const second = makeSequence(range(0, 10), { group: first.group });
  const copies = admit(blocks, second, 1, first);
  // Two full blocks are shared; the third holds token 8, and 9 is computed again for its logits.
  expect(held(blocks, second).slice(0, 2)).toEqual(held(blocks, first).slice(0, 2));
  expect(copies).toEqual([held(blocks, first)[2]!, held(blocks, second)[2]!]);
  expect(second.numScheduled).toBe(9);
  blocks.checkInvariants([first, second]);
  blocks.release(first);
  expect(blocks.canFork(first)).toBe(false);
  blocks.checkInvariants([second]);
});

test("no block is copied where the prompt ends one token into a block", () => {
  const blocks = manager({ prefixCaching: false });
  const first = makeSequence(range(0, 9));
  admit(blocks, first, 0);
  first.promptSubmitted = true;
  const second = makeSequence(range(0, 9), { group: first.group });
  expect(admit(blocks, second, 1, first)).toEqual([]);
  expect(second.numScheduled).toBe(8);
});

test("behind a sliding window blocks are let go of once published, and a hit needs the chain but holds only the window", () => {
  const blocks = manager({ slidingWindow: 6 });
  const first = makeSequence(range(0, 20));
  admit(blocks, first, 0);
  compute(blocks, first);
  // Token 20 attends to 15..20: blocks 0..2 are behind.
  expect(first.firstBlock).toBe(3);
  expect(blocks.numUsed).toBe(2);
  blocks.checkInvariants([first]);
  const second = makeSequence(range(0, 20));
  admit(blocks, second, 1);
  // It has tokens 0..15; token 16 attends to 11..16: from block 2.
  expect(second.numCommitted).toBe(16);
  expect(second.firstBlock).toBe(2);
  blocks.checkInvariants([first, second]);
  // With the start of the chain gone nothing is found, though the window's blocks are there.
  const filler = makeSequence(range(200, 232));
  admit(blocks, filler, 2);
  expect(blocks.probe(Int32Array.from(range(0, 20)), 20, 0)).toBe(0);
  blocks.checkInvariants([first, second, filler]);
});

test("without a prefix cache a window lets go at once", () => {
  const blocks = manager({ slidingWindow: 6, prefixCaching: false });
  const sequence = makeSequence(range(0, 20));
  admit(blocks, sequence, 0);
  compute(blocks, sequence);
  expect(blocks.numUsed).toBe(2);
  expect(blocks.canFork(Object.assign(sequence, { promptSubmitted: true }))).toBe(false);
});

test("the check finds wrong books", () => {
  const blocks = manager();
  const sequence = makeSequence(range(0, 9));
  admit(blocks, sequence, 0);
  expect(() => blocks.checkInvariants([])).toThrow("references");
  blocks.release(sequence);
  expect(() => blocks.checkInvariants([Object.assign(sequence, { numBlocks: 1 })])).toThrow();
});
