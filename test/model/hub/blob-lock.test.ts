import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import type { Clock } from "../../../src/core/clock.ts";
import { withLock } from "../../../src/model/hub/blob-lock.ts";
import { TempFolder } from "../temp-folder.ts";

/** Every look at the clock is ten seconds later. */
class LeapingClock implements Clock {
  #nowMs = 0;
  nowMs(): number {
    return (this.#nowMs += 10_000);
  }
  epochS(): number {
    return 1_700_000_000;
  }
}

const context = (clock: Clock, signal?: AbortSignal) => ({ clock, signal, what: "blob" });

test("work runs one at a time and the lock is gone afterwards, after failures too", async () => {
  using folder = new TempFolder();
  const path = folder.file("locks/blob.lock");
  const clock: Clock = { nowMs: () => 0, epochS: () => 0 };
  let running = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++running);
    await Bun.sleep(5);
    running--;
  };
  await Promise.all([1, 2, 3].map(() => withLock(path, context(clock), work)));
  expect(most).toBe(1);
  const failing = withLock(path, context(clock), () => Promise.reject(new Error("disk full")));
  await expect(failing).rejects.toThrow("disk full");
  expect(existsSync(path)).toBe(false);
});

test("the lock of a dead process of this host is taken over at once", async () => {
  using folder = new TempFolder();
  const path = folder.file("blob.lock");
  const child = Bun.spawn(["true"]);
  await child.exited;
  writeFileSync(path, `${hostname()} ${child.pid} 0000`);
  const owner = await withLock(path, context({ nowMs: () => 0, epochS: () => 0 }), async () =>
    readFileSync(path, "utf8"),
  );
  expect(owner).toContain(`${hostname()} ${process.pid} `);
});

test("a lock of another host is respected while it is touched, and taken over when it stands still", async () => {
  using folder = new TempFolder();
  const path = folder.file("blob.lock");
  const stop = new AbortController();
  const frozen: Clock = { nowMs: () => 0, epochS: () => 0 };
  writeFileSync(path, "elsewhere 1 0000");
  const waiting = withLock(path, context(frozen, stop.signal), async () => {});
  await Bun.sleep(450);
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ code: "cancelled" });
  expect(readFileSync(path, "utf8")).toBe("elsewhere 1 0000");
  let ran = false;
  await withLock(path, context(new LeapingClock()), async () => {
    ran = true;
  });
  expect(ran).toBe(true);
});
