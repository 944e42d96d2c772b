import { expect, test } from "bun:test";
import { FairQueue } from "../../src/text/fair-queue.ts";

interface Job {
  readonly name: string;
  readonly tenant: string;
  readonly cost: number;
  readonly arrivedMs: number;
}

const job = (name: string, tenant: string, cost: number, arrivedMs = 0): Job => ({ name, tenant, cost, arrivedMs });

function names(queue: FairQueue<Job>): string[] {
  const taken: string[] = [];
  for (let next = queue.take(); next !== undefined; next = queue.take()) taken.push(next.name);
  return taken;
}

test("a tenant with many jobs delays its own", () => {
  const queue = new FairQueue<Job>(0);
  for (let i = 0; i < 5; i++) queue.add(job(`a${i}`, "a", 100, i));
  expect(queue.take()!.name).toBe("a0");
  queue.add(job("b0", "b", 100, 9));
  queue.add(job("c0", "c", 100, 9));
  expect(names(queue)).toEqual(["b0", "c0", "a1", "a2", "a3", "a4"]);
});

test("work is shared by cost, not by count", () => {
  const queue = new FairQueue<Job>(0);
  for (let i = 0; i < 2; i++) queue.add(job(`long${i}`, "a", 300, i));
  for (let i = 0; i < 6; i++) queue.add(job(`short${i}`, "b", 100, i));
  expect(names(queue)).toEqual(["long0", "short0", "short1", "short2", "long1", "short3", "short4", "short5"]);
});

test("short jobs of a tenant go first, but a long one is overtaken only for a while", () => {
  const queue = new FairQueue<Job>(0.1);
  queue.add(job("long", "a", 1000, 0));
  queue.add(job("early", "a", 10, 50));
  queue.add(job("late", "a", 10, 99.5));
  expect(names(queue)).toEqual(["early", "long", "late"]);
});

test("jobs of one length keep their order", () => {
  const queue = new FairQueue<Job>(1);
  for (const name of ["first", "second", "third"]) queue.add(job(name, "", 7));
  expect(names(queue)).toEqual(["first", "second", "third"]);
});

test("a removed job is gone, and its tenant has no claim on the time it was away", () => {
  const queue = new FairQueue<Job>(0);
  const gone = job("gone", "a", 1);
  queue.add(gone);
  queue.add(job("b0", "b", 1, 1));
  queue.add(job("b1", "b", 1, 2));
  expect(queue.remove(gone)).toBe(true);
  expect(queue.remove(gone)).toBe(false);
  expect(queue.size).toBe(2);
  expect(queue.take()!.name).toBe("b0");
  queue.add(job("a1", "a", 1, 3));
  queue.add(job("a2", "a", 1, 4));
  expect(names(queue)).toEqual(["a1", "b1", "a2"]);
  expect(queue.size).toBe(0);
});

test("under a random load every job is taken once, and none waits for more than its share", () => {
  const queue = new FairQueue<Job>(0.01);
  const taken = new Set<string>();
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let i = 0; i < 2000; i++) {
    queue.add(job(String(i), `t${random(5)}`, 1 + random(1000), i));
    if (random(3) === 0) taken.add(queue.take()!.name);
  }
  for (const name of names(queue)) taken.add(name);
  expect(taken.size).toBe(2000);
});

test("a tenant that sends its next job while one is being done gets its share by cost, and no more", () => {
  const queue = new FairQueue<Job>(0);
  const done = { a: 0, b: 0, c: 0 };
  let sent = 0;
  const send = (tenant: "a" | "b" | "c", cost: number) => queue.add(job(String(sent++), tenant, cost, sent));
  for (let i = 0; i < 200; i++) send("a", 100);
  // One of its jobs waits, never two: nothing of b's is here between its being taken and the next.
  send("b", 1000);
  send("c", 10);
  for (let i = 0; i < 150; i++) {
    const { tenant, cost } = queue.take()!;
    done[tenant as "a"] += cost;
    if (tenant === "b") send("b", 1000);
    if (tenant === "c") send("c", 10);
  }
  // Their shares differ by a job of each at the most.
  expect(Math.abs(done.a - done.b)).toBeLessThanOrEqual(1100);
  expect(Math.abs(done.a - done.c)).toBeLessThanOrEqual(1100);
});

test("what was done for a tenant while nobody else waited is not held against it", () => {
  const queue = new FairQueue<Job>(0);
  for (let i = 0; i < 5; i++) {
    queue.add(job(`alone${i}`, "a", 1000));
    queue.take();
  }
  for (let i = 0; i < 2; i++) {
    queue.add(job(`b${i}`, "b", 10));
    queue.add(job(`a${i}`, "a", 10));
  }
  expect(names(queue)).toEqual(["b0", "a0", "b1", "a1"]);
  expect(queue.size).toBe(0);
});
