/**
 * Calls `onFault` for every error that nothing caught, a promise's rejection included. Such an error is a fault of this
 * code: what it left half done is unknown, so whoever is told should have the process replaced. Without a listener the
 * runtime would end the process at once, and every stream with it. Returns how to stop watching.
 */
export function watchFaults(onFault: (error: unknown) => void): () => void {
  const listener = (error: unknown) => onFault(error);
  process.on("uncaughtException", listener);
  process.on("unhandledRejection", listener);
  return () => {
    process.off("uncaughtException", listener);
    process.off("unhandledRejection", listener);
  };
}
