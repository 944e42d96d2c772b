import type { Limits } from "../config/limits.ts";

/** Of a refused request's body, more than this is not waited for. */
const MAX_BYTES = 64 * 1024;

/**
 * Resolves when the rest of a refused request has come, or has had its time. A request that is answered before its end can
 * no longer turn out to be malformed, and a client that is still sending may not look at an answer. Whether all has come.
 */
export async function requestArrived(
  request: Request,
  { refusedBodyMs }: Pick<Limits, "refusedBodyMs">,
): Promise<boolean> {
  const { body } = request;
  if (body === null) return true;
  const expired = Promise.withResolvers<"expired">();
  const timer = setTimeout(() => expired.resolve("expired"), refusedBodyMs);
  const reader = body.getReader();
  try {
    for (let bytes = 0; bytes < MAX_BYTES; ) {
      const read = await Promise.race([reader.read(), expired.promise]);
      if (read === "expired") return false;
      if (read.done) return true;
      bytes += read.value.length;
    }
  } catch {
    // The client is gone, or the request was malformed: the answer goes nowhere.
  } finally {
    clearTimeout(timer);
    reader.releaseLock();
  }
  return false;
}
