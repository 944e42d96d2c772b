import { expect, test } from "bun:test";
import { TurnBudget } from "../../src/http/turn-budget.ts";

/** A clock that stands still but for the work done. */
function workshop(turnWorkMs = 4) {
  let nowMs = 0;
  let turn = 0;
  let counting = true;
  const count = () => {
    turn++;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  const workedMs: number[] = [];
  const work = (ms: number) => {
    nowMs += ms;
    workedMs[turn] = (workedMs[turn] ?? 0) + ms;
  };
  const done = () => {
    counting = false;
    return workedMs.filter((ms) => ms !== undefined);
  };
  return { budget: new TurnBudget({ nowMs: () => nowMs }, { turnWorkMs }), work, done };
}

test("many jobs at once hold a turn no longer than one does, and all end", async () => {
  const { budget, work, done } = workshop();
  const job = function* (steps: number) {
    for (let i = 0; i < steps; i++) {
      work(1);
      yield;
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, i) => budget.run(job(i))));
  const turns = done();
  expect(turns.reduce((sum, ms) => sum + ms)).toBe((63 * 64) / 2);
  // A turn's work ends with the step that uses the time up; what is woken has a turn of its own.
  expect(Math.max(...turns)).toBeLessThanOrEqual(4 + 64);
  expect(turns.slice(1).every((ms) => ms <= 5)).toBe(true);
});

test("who waits longest comes first, and newcomers do not starve it", async () => {
  const { budget, work, done } = workshop(1);
  budget.spent();
  work(1);
  const order: number[] = [];
  const waiting = Array.from({ length: 100 }, async (_, i) => {
    expect(budget.spent()).toBe(true);
    await budget.next();
    order.push(i);
    work(1);
  });
  const newcomers = setInterval(() => {
    if (!budget.spent()) work(1);
  }, 0);
  await Promise.all(waiting);
  clearInterval(newcomers);
  done();
  expect(order).toEqual(Array.from({ length: 100 }, (_, i) => i));
});

test("those who wait for the turn's end all go on in the next one", async () => {
  const { budget, work, done } = workshop(1);
  budget.spent();
  work(1);
  const order: string[] = [];
  const waiting = Array.from({ length: 50 }, async (_, i) => {
    await budget.over();
    order.push(`small ${i}`);
  });
  const own = budget.next().then(() => order.push("own"));
  setImmediate(() => setImmediate(() => order.push("later")));
  await Promise.all([...waiting, own]);
  done();
  expect(order.slice(0, 51).sort()).toEqual([...Array.from({ length: 50 }, (_, i) => `small ${i}`), "own"].sort());
});

test("sockets are served between the turns of a long job", async () => {
  using server = Bun.serve({ port: 0, fetch: () => new Response("here") });
  const { budget, work, done } = workshop(1);
  let over = false;
  const endless = (function* () {
    while (!over) yield work(1);
  })();
  const job = budget.run(endless);
  for (let i = 0; i < 3; i++) expect(await (await fetch(server.url)).text()).toBe("here");
  over = true;
  await job;
  done();
});

test("a job ends with the reason of its signal", async () => {
  const { budget, work, done } = workshop(1);
  const aborter = new AbortController();
  const endless = (function* () {
    for (;;) yield work(1);
  })();
  const job = budget.run(endless, aborter.signal).catch((error: unknown) => error);
  aborter.abort("enough");
  expect(await job).toBe("enough");
  done();
});
