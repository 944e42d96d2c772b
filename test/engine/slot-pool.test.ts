import { expect, test } from "bun:test";
import { SlotPool } from "../../src/engine/slot-pool.ts";

test("a slot given back rests until the last step submitted by then is done", () => {
  const slots = new SlotPool(2);
  const first = slots.take();
  const second = slots.take();
  expect(new Set([first, second])).toEqual(new Set([0, 1]));
  expect(slots.numFree).toBe(0);
  expect(() => slots.take()).toThrow();
  slots.giveBack(first, 7);
  slots.giveBack(second, 8);
  slots.settle(6);
  expect(slots.numFree).toBe(0);
  slots.settle(7);
  expect(slots.take()).toBe(first);
  slots.settle(8);
  expect(slots.take()).toBe(second);
});
