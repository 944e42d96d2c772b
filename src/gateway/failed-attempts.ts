import { isIP } from "node:net";
import type { Limits } from "../config/limits.ts";
import type { Clock } from "../core/clock.ts";

interface Entry {
  count: number;
  sinceMs: number;
}

/**
 * Slows down whoever tries keys: after a few requests refused for their key within a minute, each further refusal of that
 * address is held for a while. Valid keys are never counted, so they never wait. Memory is constant: a bounded table of
 * addresses, and a bounded number of refusals held at once; the others go out without delay.
 */
export class FailedAttempts {
  /** In order of the last refusal, oldest first. */
  private readonly entries = new Map<string, Entry>();
  private held = 0;

  constructor(
    private readonly clock: Clock,
    private readonly limits: Pick<
      Limits,
      | "freeKeyRefusals"
      | "keyRefusalWindowMs"
      | "keyRefusalStepMs"
      | "maxKeyRefusalDelayMs"
      | "maxHeldRefusals"
      | "maxRefusedAddresses"
    >,
  ) {}

  /** Notes a refusal. Set where its answer must wait: resolves when it may go out, or `signal` aborts. */
  refused(address: string, signal: AbortSignal): Promise<void> | undefined {
    const delayMs = this.count(networkOf(address));
    if (delayMs === 0 || this.held >= this.limits.maxHeldRefusals || signal.aborted) return undefined;
    this.held++;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, delayMs);
    const onAbort = () => resolve();
    signal.addEventListener("abort", onAbort);
    return promise.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      this.held--;
    });
  }

  private count(network: string): number {
    const { freeKeyRefusals, keyRefusalWindowMs, keyRefusalStepMs, maxKeyRefusalDelayMs, maxRefusedAddresses } =
      this.limits;
    const nowMs = this.clock.nowMs();
    let entry = this.entries.get(network);
    if (entry === undefined || nowMs - entry.sinceMs > keyRefusalWindowMs) entry = { count: 0, sinceMs: nowMs };
    entry.count++;
    this.entries.delete(network);
    this.entries.set(network, entry);
    if (this.entries.size > maxRefusedAddresses) this.entries.delete(this.entries.keys().next().value!);
    return Math.min(maxKeyRefusalDelayMs, Math.max(0, entry.count - freeKeyRefusals) * keyRefusalStepMs);
  }
}

/** One customer of a provider: an IPv4 address, or the /64 that an IPv6 host is free to choose its addresses from. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (isIP(address) !== 6) return address;
  const [head = "", tail] = address.toLowerCase().replace(/%.*/, "").split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  if (tail !== undefined) groups.push(...Array(Math.max(0, 8 - groups.length - after.length)).fill("0"), ...after);
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
