/**
 * Hands on what was thrown where no request can be told of it: to the process, as if nothing had caught it, which counts
 * and logs it and is replaced (cli/fault-watch.ts); a test fails. The caller goes on with its other work.
 */
export function reportFault(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
