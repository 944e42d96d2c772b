import { ServeError } from "../core/errors.ts";

/**
 * Resolves when `ready` does. When that takes longer than `limitMs` the reader takes nothing: calls `drop` with the error
 * and rejects with it.
 */
export async function readerReady(
  ready: Promise<unknown>,
  limitMs: number,
  drop: (error: ServeError) => void,
): Promise<void> {
  const stalled = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new ServeError("cancelled", "The client stopped reading.", { reason: "stalled_reader" });
    drop(error);
    stalled.reject(error);
  }, limitMs);
  try {
    await Promise.race([ready, stalled.promise]);
  } finally {
    clearTimeout(timer);
  }
}
