import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import type { GenerateRequest } from "../../src/core/generate.ts";
import { DEFAULT_SAMPLING } from "../../src/core/sampling-params.ts";
import { DEFAULT_ENGINE_OPTIONS } from "../../src/engine/engine-options.ts";
import { openModel } from "../../src/model/open-model.ts";
import { LocalReplica } from "../../src/replica/local.ts";
import { createTextService } from "../../src/text/worker-text-service.ts";

/**
 * CPU that a generated token costs around the device: scheduling, packing, the message to the main thread,
 * detokenising with the bundled model's tokenizer and handing the event to its reader. All threads of the process are
 * counted, garbage collection included. Targets: 3 us a token at 64 sequences, 1 ms a step at 256.
 *
 *   bun bench/engine/scheduler-overhead.ts
 */
const model = openModel(join(import.meta.dir, "../../models/SmolLM2-135M-Instruct.Q4_1.gguf"));
const text = await createTextService(model.text, { maxModelLen: 8192 });

interface Row {
  sequences: number;
  usPerToken: number;
  usPerStep: number;
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
      },
    },
    engine: { ...DEFAULT_ENGINE_OPTIONS, maxNumSeqs: sequences, maxNumBatchedTokens: 4096, prefixCaching: true },
    tokenizer: text.tokenizer,
    clock: systemClock,
  });
  const run = (tokens: number) =>
    Promise.all(Array.from({ length: sequences }, (_, i) => consume(replica, i, promptTokens, tokens)));
  // Until compiled: what is measured is the steady state.
  await run(outputTokens);
  await run(outputTokens);
  const before = { cpu: process.cpuUsage(), engine: replica.stats().engine! };
  await run(outputTokens);
  const { user, system } = process.cpuUsage(before.cpu);
  const after = replica.stats().engine!;
  await replica.close();
  const steps = after.steps - before.engine.steps;
  return {
    sequences,
    usPerToken: (user + system) / (sequences * outputTokens),
    usPerStep: (user + system) / steps,
    engineUsPerStep: (1000 * (after.scheduleMs - before.engine.scheduleMs)) / steps,
  };
}

async function consume(replica: LocalReplica, seed: number, promptTokens: number, outputTokens: number): Promise<void> {
  const request: GenerateRequest = {
    id: `bench-${seed}`,
    model: "null",
    promptTokenIds: Int32Array.from({ length: promptTokens }, (_, i) => (seed * 7919 + i * 31) % 40_000),
    promptText: undefined,
    n: 1,
    sampling: { ...DEFAULT_SAMPLING, maxTokens: outputTokens, ignoreEos: true },
    priority: 0,
    tenant: "",
    deadlineMs: undefined,
    resume: undefined,
  };
  let tokens = 0;
  for await (const event of replica.generate(request, new AbortController().signal)) {
    if (event.type === "text-delta") tokens += event.tokenIds.length;
  }
  if (tokens !== outputTokens) throw new Error(`${tokens} tokens came instead of ${outputTokens}`);
}

console.log("sequences  CPU us/token  CPU us/step  of which the engine thread, wall us/step");
for (const [sequences, outputTokens] of [
  [1, 1500],
  [16, 1500],
  [64, 1500],
  [256, 1500],
] as const) {
  const row = await measure(sequences, 128, outputTokens);
  const cells = [row.usPerToken.toFixed(2), row.usPerStep.toFixed(0), row.engineUsPerStep.toFixed(0)];
  console.log(
    `${String(sequences).padStart(9)}  ${cells[0]!.padStart(12)}  ${cells[1]!.padStart(11)}  ${cells[2]!.padStart(10)}`,
  );
}
await text.close();
