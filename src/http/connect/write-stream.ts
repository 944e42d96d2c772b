/** Resolves when `ready` does; rejects when that takes longer than `limitMs`: the reader takes nothing. */
export async function readerReady(ready: Promise<unknown>, limitMs: number): Promise<void> {
  const stalled = Promise.withResolvers<never>();
  const timer = setTimeout(() => stalled.reject(new Error("the reader stalled")), limitMs);
  try {
    await Promise.race([ready, stalled.promise]);
  } finally {
    clearTimeout(timer);
  }
}
