import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { DEFAULT_ENGINE_OPTIONS } from "../../src/engine/engine-options.ts";
import { openModel } from "../../src/model/open-model.ts";
import { LocalReplica } from "../../src/replica/local.ts";
import { createTextService } from "../../src/text/worker-text-service.ts";
import { tokenRequest } from "./token-request.ts";

/**
 * CPU that a generated token costs around the device: scheduling, packing, the message to the main thread,
 * detokenising with the bundled model's tokenizer and handing the event to its reader. All threads of the process are
 * counted, garbage collection and compilation included; what the device's stand-in takes to fall asleep and to wake up
 * is counted apart. Targets: 3 us a token at 64 sequences, 1 ms a step at 256.
 *
 *   bun bench/engine/scheduler-overhead.ts
 */
const model = openModel(join(import.meta.dir, "../../models/SmolLM2-135M-Instruct.Q4_1.gguf"));
const text = await createTextService(model.text, { maxModelLen: 8192 });
const tokens = await text.encode(await Bun.file(join(import.meta.dir, "../../README.md")).text(), false);
/** Before what is measured, and one more at the measured pace. */
const WARM_UP_RUNS = 10;

interface Row {
  sequences: number;
  usPerToken: number;
  usPerStep: number;
  sleepUsPerStep: number;
  engineUsPerStep: number;
}

async function measure(sequences: number, promptTokens: number, outputTokens: number): Promise<Row> {
  const replica = await LocalReplica.start({
    name: "null",
    backend: {
      kind: "null",
      info: {
        vocabSize: model.plan.spec.vocabSize,
        maxModelLen: 8192,
        blockSize: 16,
        numBlocks: 64 * 1024,
        maxNumSeqs: sequences + 8,
        maxBatchedTokens: 4096,
        maxLogitRows: sequences + 8,
        slidingWindow: 0,
        // Slow enough for every step's message to be read before the next: no token shares another's costs.
        stepMs: 2,
        // Until compiled: what is measured is the steady state.
        warmUpSteps: WARM_UP_RUNS * outputTokens,
        tokens,
      },
    },
    engine: { ...DEFAULT_ENGINE_OPTIONS, maxNumSeqs: sequences, maxNumBatchedTokens: 4096, prefixCaching: true },
    tokenizer: text.tokenizer,
    clock: systemClock,
  });
  const run = (tokens: number) =>
    Promise.all(Array.from({ length: sequences }, (_, i) => consume(replica, i, promptTokens, tokens)));
  for (let i = 0; i <= WARM_UP_RUNS; i++) await run(outputTokens);
  const before = { cpu: process.cpuUsage(), engine: replica.stats().engine!, device: await replica.profile(false) };
  await run(outputTokens);
  const { user, system } = process.cpuUsage(before.cpu);
  const after = replica.stats().engine!;
  const device = await replica.profile(false);
  await replica.close();
  const steps = after.steps - before.engine.steps;
  const sleepUs = (device.stepNs - before.device.stepNs) / 1000;
  const us = user + system - sleepUs;
  return {
    sequences,
    usPerToken: us / (sequences * outputTokens),
    usPerStep: us / steps,
    sleepUsPerStep: sleepUs / steps,
    engineUsPerStep: (1000 * (after.scheduleMs - before.engine.scheduleMs)) / steps,
  };
}

async function consume(replica: LocalReplica, seed: number, promptTokens: number, outputTokens: number): Promise<void> {
  const promptTokenIds = Int32Array.from({ length: promptTokens }, (_, i) => (seed * 7919 + i * 31) % 40_000);
  const request = tokenRequest(`bench-${seed}`, promptTokenIds, outputTokens);
  let tokens = 0;
  for await (const event of replica.generate(request, new AbortController().signal)) {
    if (event.type === "text-delta") tokens += event.tokenIds.length;
  }
  if (tokens !== outputTokens) throw new Error(`${tokens} tokens came instead of ${outputTokens}`);
}

console.log(
  "sequences  CPU us/token  CPU us/step  engine thread, wall us/step  apart: the device's sleep, CPU us/step",
);
for (const [sequences, outputTokens] of [
  [1, 1500],
  [16, 1500],
  [64, 1500],
  [256, 1500],
] as const) {
  const row = await measure(sequences, 128, outputTokens);
  const cells = [
    String(sequences).padStart(9),
    row.usPerToken.toFixed(2).padStart(12),
    row.usPerStep.toFixed(0).padStart(11),
    row.engineUsPerStep.toFixed(0).padStart(27),
    row.sleepUsPerStep.toFixed(0).padStart(41),
  ];
  console.log(cells.join("  "));
}
await text.close();
