import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { pause } from "./hub-fetch.ts";

const POLL_MS = 200;
/** The holder touches its lock this often ... */
const HEARTBEAT_MS = 5_000;
/** ... so one that stands still for this long belongs to a process that died, on this host or another. */
const STALE_MS = 30_000;

/**
 * Runs `work` while no other process or pull holds the lock at `path`. Waits for a holder that is alive and takes over
 * from one that died. Throws `cancelled` when the signal aborts.
 */
export async function withLock<T>(
  path: string,
  { clock, signal, what }: { clock: Clock; signal: AbortSignal | undefined; what: string },
  work: () => Promise<T>,
): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  const owner = `${hostname()} ${process.pid} ${crypto.randomUUID()}`;
  let seen = "";
  let seenSinceMs = clock.nowMs();
  while (!tryCreate(path, owner)) {
    const state = describe(path);
    if (state !== seen) {
      seen = state;
      seenSinceMs = clock.nowMs();
    } else if (isDead(path) || clock.nowMs() - seenSinceMs > STALE_MS) {
      breakLock(path, owner);
      continue;
    }
    await pause(POLL_MS, signal, what);
  }
  const heartbeat = setInterval(() => touch(path, clock.epochS()), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    if (read(path) === owner) rmSync(path, { force: true });
  }
}

function tryCreate(path: string, owner: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, "wx");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
  writeSync(fd, owner);
  closeSync(fd);
  return true;
}

/** Who holds the lock and when it was last touched; "" when it is gone. */
function describe(path: string): string {
  try {
    return `${statSync(path).mtimeMs} ${readFileSync(path, "utf8")}`;
  } catch {
    return "";
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** The holder is a process of this host that is gone. */
function isDead(path: string): boolean {
  const [host, pid] = (read(path) ?? "").split(" ");
  if (host !== hostname() || !pid) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** Moved aside first: of two processes that find it stale, one succeeds. */
function breakLock(path: string, owner: string): void {
  const aside = `${path}.${owner.split(" ")[2]}`;
  try {
    renameSync(path, aside);
    rmSync(aside, { force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function touch(path: string, epochS: number): void {
  try {
    utimesSync(path, epochS, epochS);
  } catch {
    // The lock was broken or the folder removed; the download's own checks decide what that means.
  }
}
