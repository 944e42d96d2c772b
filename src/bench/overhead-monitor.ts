import type { Clock } from "../core/clock.ts";
import { type Distribution, distributionOf } from "./stats/distribution.ts";

/** What the client itself cost while it measured. A late event loop means late timestamps. */
export interface ClientOverhead {
  /** How late a timer fired, ms: an upper bound on the delay of a timestamp. */
  lagMs: Distribution | undefined;
  /** CPU time of this process, user and system. */
  cpuMs: number;
  chunks: number;
}

/** Often enough to see a pause of a few ms, rare enough to cost nothing. */
const PROBE_MS = 10;

/** Starts watching; the returned function stops and reports. */
export function monitorOverhead(clock: Clock): (chunks: number) => ClientOverhead {
  const lags: number[] = [];
  const cpu = process.cpuUsage();
  let dueMs = clock.nowMs() + PROBE_MS;
  let timer = setTimeout(function probe() {
    const nowMs = clock.nowMs();
    lags.push(Math.max(0, nowMs - dueMs));
    dueMs = nowMs + PROBE_MS;
    timer = setTimeout(probe, PROBE_MS);
  }, PROBE_MS);
  return (chunks) => {
    clearTimeout(timer);
    const used = process.cpuUsage(cpu);
    return { lagMs: distributionOf(lags), cpuMs: (used.user + used.system) / 1000, chunks };
  };
}
