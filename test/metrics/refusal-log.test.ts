import { expect, test } from "bun:test";
import { type LogFields, silentLogger } from "../../src/metrics/logger.ts";
import { RefusalLog } from "../../src/metrics/refusal-log.ts";

test("so many lines a second, and one that counts the rest", () => {
  const lines: Array<[string, LogFields]> = [];
  const note = (message: string, fields: LogFields = {}) => void lines.push([message, fields]);
  const clock = { now: 0, nowMs: () => clock.now, epochS: () => 0 };
  const log = new RefusalLog({ ...silentLogger, info: note, warn: note }, clock, 3);
  for (let i = 0; i < 1000; i++) log.write("request", { i });
  expect(lines.map(([, fields]) => fields.i)).toEqual([0, 1, 2]);
  clock.now = 1000;
  log.write("request", { i: 1000 });
  expect(lines.slice(3)).toEqual([
    ["more requests were refused", { count: 997 }],
    ["request", { i: 1000 }],
  ]);
});

test("a flood that ended is told of without another request", async () => {
  const told = Promise.withResolvers<LogFields | undefined>();
  const clock = { nowMs: () => 0, epochS: () => 0 };
  const log = new RefusalLog({ ...silentLogger, warn: (_message, fields) => told.resolve(fields) }, clock, 1);
  for (let i = 0; i < 5; i++) log.write("request", {});
  // Its timer does not keep a process; the test's does.
  const alive = setTimeout(() => {}, 30_000);
  expect(await told.promise).toEqual({ count: 4 });
  clearTimeout(alive);
});
