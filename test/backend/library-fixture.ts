// Entry of the binary that library.test.ts builds: opens the embedded library as the server does, and in a Worker too.
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { locateLibrary } from "../../src/backend/library.ts";
import { probe } from "../../src/backend/probe.ts";

if (isMainThread) {
  const runtimeDir = process.argv[2];
  const path = await locateLibrary({ runtimeDir });
  const worker = new Worker(new URL(import.meta.url), { workerData: path });
  const inWorker = await new Promise((resolve) => void worker.once("message", resolve));
  console.log(JSON.stringify({ path, cores: probe(path).numCores, inWorker }));
  process.exit(0);
} else {
  parentPort!.postMessage(probe(workerData as string).numCores);
}
