import { workerUrl } from "../../src/core/worker-url.ts";

/** The server's tokenizer Worker, or the one of fake-worker.ts in its place. */
export function tokenizerWorker(kind: "real" | "fake"): Worker {
  const fake = new URL("./fake-worker.ts", import.meta.url).href;
  return new Worker(kind === "real" ? workerUrl("text/tokenizer-worker.ts") : fake);
}
