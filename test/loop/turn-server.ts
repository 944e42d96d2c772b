/**
 * A server with the bundled model in a process of its own, which measures its main thread; turns.test.ts starts it. All is
 * as served but for the device: a fake one, so that the largest answers come at once. Every message from the parent is
 * answered with the longest turn since the one before.
 */

import { startServer } from "../../src/cli/start-server.ts";
import { loadSettings } from "../../src/config/load-settings.ts";
import { TurnSampler } from "./turn-sampler.ts";

const { settings } = loadSettings(["--port", "0", "--grpc-port", "0", "--log-level", "info"]);
const fake = {
  seed: 1,
  vocabSize: 49_152,
  slidingWindow: 1,
  predictability: 0,
  maxModelLen: 8192,
  blockSize: 16,
  numBlocks: 20_000,
  maxNumSeqs: settings.maxNumSeqs,
  maxBatchedTokens: settings.maxNumBatchedTokens,
  maxLogitRows: settings.maxNumBatchedTokens,
  cost: { stepMs: 4, decodeMs: 0.01, prefillMs: 0.001, contextMs: 0 },
};
const server = await startServer(settings, { backend: { kind: "fake", fake } });
await server.ready;
const sampler = new TurnSampler();
process.on("message", () => process.send!({ longestMs: sampler.take(), rssMiB: process.memoryUsage.rss() / 2 ** 20 }));
process.on("disconnect", () => process.exit(0));
process.send!({ url: server.url, grpc: server.grpcAddress });
