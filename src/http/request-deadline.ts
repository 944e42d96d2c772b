import type { Limits } from "../config/limits.ts";

/** When a request must have ended, on the clock of `arrivedMs`: the server's timeout or the client's, whichever is shorter. */
export function requestDeadlineMs(
  arrivedMs: number,
  { requestTimeoutMs }: Pick<Limits, "requestTimeoutMs">,
  clientTimeoutMs?: number,
): number | undefined {
  const serverTimeoutMs = requestTimeoutMs > 0 ? requestTimeoutMs : Number.POSITIVE_INFINITY;
  const timeoutMs = Math.min(serverTimeoutMs, clientTimeoutMs ?? Number.POSITIVE_INFINITY);
  return timeoutMs === Number.POSITIVE_INFINITY ? undefined : arrivedMs + timeoutMs;
}
