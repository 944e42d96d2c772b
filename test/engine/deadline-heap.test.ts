import { expect, test } from "bun:test";
import { DeadlineHeap } from "../../src/engine/deadline-heap.ts";
import { Random } from "../sim/random.ts";
import { makeSequence } from "./fixture.ts";

test("gives back what is late, earliest first, and forgets what has ended", () => {
  const heap = new DeadlineHeap();
  const random = new Random(1);
  const sequences = Array.from({ length: 500 }, () => makeSequence([1], { deadlineMs: random.integer(0, 10_000) }));
  for (const sequence of sequences) heap.push(sequence);
  sequences.forEach((sequence, i) => {
    if (i % 3 === 0) sequence.state = "finished";
  });
  for (const nowMs of [2000, 7000, 20_000]) {
    const late: number[] = [];
    for (let top = heap.popExpired(nowMs); top; top = heap.popExpired(nowMs)) {
      late.push(top.group.deadlineMs);
      top.state = "finished";
    }
    expect(late).toEqual([...late].sort((a, b) => a - b));
    expect(late.every((ms) => ms <= nowMs)).toBe(true);
  }
  expect(heap.size).toBe(0);
  expect(sequences.every(({ state }) => state === "finished")).toBe(true);
});

test("ended sequences with far deadlines do not pile up", () => {
  const heap = new DeadlineHeap();
  for (let i = 0; i < 20_000; i++) {
    const sequence = makeSequence([1], { deadlineMs: 1e9 + i });
    heap.push(sequence);
    if (i % 100 !== 0) sequence.state = "finished";
  }
  expect(heap.size).toBeLessThan(2100);
});
