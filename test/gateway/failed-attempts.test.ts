import { expect, test } from "bun:test";
import { LIMITS, type Limits } from "../../src/config/limits.ts";
import { FailedAttempts } from "../../src/gateway/failed-attempts.ts";

const never = new AbortController().signal;

function attempts(limits: Partial<Limits> = {}) {
  const clock = { now: 0, nowMs: () => clock.now, epochS: () => 0 };
  // Held refusals end with the test.
  const table = new FailedAttempts(clock, { ...LIMITS, keyRefusalStepMs: 1, maxKeyRefusalDelayMs: 5, ...limits });
  const isHeld = (address: string) => table.refused(address, never) !== undefined;
  return {
    clock,
    table,
    isHeld,
    holds: (address: string, times: number) => Array.from({ length: times }, () => isHeld(address)),
  };
}

test("the first refusals of an address go out at once, later ones wait, and after the window it starts over", () => {
  const { clock, holds, isHeld } = attempts();
  expect(holds("10.0.0.1", 11)).toEqual([...Array(10).fill(false), true]);
  expect(isHeld("10.0.0.2")).toBe(false);
  clock.now = LIMITS.keyRefusalWindowMs + 1;
  expect(isHeld("10.0.0.1")).toBe(false);
});

test("an IPv6 host is its /64, and IPv4 within IPv6 is IPv4", () => {
  const { holds, isHeld } = attempts();
  for (let i = 0; i < 10; i++) isHeld(`2001:db8:0:1:${i}:${i}::${i}`);
  expect(isHeld("2001:db8::1:ffff:0:0:1")).toBe(true);
  expect(isHeld("2001:db8:0:2::1")).toBe(false);
  holds("::ffff:10.0.0.3", 10);
  expect(isHeld("10.0.0.3")).toBe(true);
  holds("fe80::1%eth0", 10);
  expect(isHeld("fe80::2")).toBe(true);
});

test("the table and the refusals held at once are bounded", async () => {
  const { table, isHeld, holds } = attempts({ maxRefusedAddresses: 3, maxHeldRefusals: 2, keyRefusalStepMs: 1000 });
  holds("a", 10);
  for (const other of ["b", "c", "d"]) isHeld(other);
  // "a" was the longest quiet one.
  expect(isHeld("a")).toBe(false);
  holds("e", 10);
  const leave = new AbortController();
  const held = [table.refused("e", leave.signal), table.refused("e", leave.signal)];
  expect(held.every((promise) => promise !== undefined)).toBe(true);
  expect(isHeld("e")).toBe(false);
  // A client that goes away makes room.
  leave.abort();
  await Promise.all(held);
  expect(table.refused("e", leave.signal)).toBeUndefined();
  expect(isHeld("e")).toBe(true);
});
