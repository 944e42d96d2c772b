import { expect, test } from "bun:test";
import { TurnQueue } from "../../src/http/turn-queue.ts";

test("tasks run once a turn, each once, after one that throws too", async () => {
  const faults: unknown[] = [];
  const queue = new TurnQueue((error) => faults.push(error));
  const done: string[] = [];
  const first = () => done.push("first");
  const broken = () => {
    throw new Error("broken");
  };
  const last = () => done.push("last");
  for (const task of [first, broken, last, first]) queue.add(task);
  expect(done).toEqual([]);
  await new Promise<void>((resolve) => setImmediate(resolve));
  expect(done).toEqual(["first", "last"]);
  queue.add(first);
  await new Promise<void>((resolve) => setImmediate(resolve));
  expect(done).toEqual(["first", "last", "first"]);
  expect(faults).toEqual([new Error("broken")]);
});
