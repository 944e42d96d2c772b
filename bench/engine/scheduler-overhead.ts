import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { DEFAULT_ENGINE_OPTIONS } from "../../src/engine/engine-options.ts";
import { openModel } from "../../src/model/open-model.ts";
import { LocalReplica } from "../../src/replica/local.ts";
import { createTextService } from "../../src/text/worker-text-service.ts";
import { type Figure, figureOf, formatFigure } from "../figure.ts";
import { tokenRequest } from "./token-request.ts";

/**
 * CPU that a generated token costs around the device: scheduling, packing, the message to the main thread,
 * detokenising with the bundled model's tokenizer and handing the event to its reader. All threads of the process are
 * counted, garbage collection and compilation included; what the device's stand-in takes to fall asleep and to wake up
 * is counted apart. Targets: 3 us a token at 64 sequences, 1 ms a step at 256. Of ROUNDS rounds after the warm-up the
 * median and the range are printed.
 *
 *   bun bench/engine/scheduler-overhead.ts
 */
const model = openModel(join(import.meta.dir, "../../models/SmolLM2-135M-Instruct.Q4_1.gguf"));
const text = await createTextService(model.text, { maxModelLen: 8192 });
const tokens = await text.encode(await Bun.file(join(import.meta.dir, "../../README.md")).text(), false);
/** Before what is measured, and one more at the measured pace. */
const WARM_UP_RUNS = 10;
const ROUNDS = 5;
const OUTPUT_TOKENS = 1500;
const PROMPT_TOKENS = 128;

interface Row {
  usPerToken: Figure;
  usPerStep: Figure;
  engineUsPerStep: Figure;
  sleepUsPerStep: Figure;
}

async function measure(sequences: number): Promise<Row> {
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
        warmUpSteps: WARM_UP_RUNS * OUTPUT_TOKENS,
        tokens,
      },
    },
    engine: { ...DEFAULT_ENGINE_OPTIONS, maxNumSeqs: sequences, maxNumBatchedTokens: 4096, prefixCaching: true },
    tokenizer: text.tokenizer,
    clock: systemClock,
  });
  const run = () => Promise.all(Array.from({ length: sequences }, (_, i) => consume(replica, i)));
  const read = async () => ({
    cpu: process.cpuUsage(),
    engine: replica.stats().engine!,
    device: await replica.profile(false),
  });
  for (let i = 0; i <= WARM_UP_RUNS; i++) await run();
  const rounds: Record<keyof Row, number>[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const before = await read();
    await run();
    const after = await read();
    const steps = after.engine.steps - before.engine.steps;
    const cpuUs = after.cpu.user - before.cpu.user + after.cpu.system - before.cpu.system;
    const sleepUs = (after.device.stepNs - before.device.stepNs) / 1000;
    rounds.push({
      usPerToken: (cpuUs - sleepUs) / (sequences * OUTPUT_TOKENS),
      usPerStep: (cpuUs - sleepUs) / steps,
      engineUsPerStep: (1000 * (after.engine.scheduleMs - before.engine.scheduleMs)) / steps,
      sleepUsPerStep: sleepUs / steps,
    });
  }
  await replica.close();
  const figure = (name: keyof Row) => figureOf(rounds.map((round) => round[name]));
  return {
    usPerToken: figure("usPerToken"),
    usPerStep: figure("usPerStep"),
    engineUsPerStep: figure("engineUsPerStep"),
    sleepUsPerStep: figure("sleepUsPerStep"),
  };
}

async function consume(replica: LocalReplica, seed: number): Promise<void> {
  const promptTokenIds = Int32Array.from({ length: PROMPT_TOKENS }, (_, i) => (seed * 7919 + i * 31) % 40_000);
  const request = tokenRequest(`bench-${seed}`, promptTokenIds, OUTPUT_TOKENS);
  let tokens = 0;
  for await (const event of replica.generate(request, new AbortController().signal)) {
    if (event.type === "text-delta") tokens += event.tokenIds.length;
  }
  if (tokens !== OUTPUT_TOKENS) throw new Error(`${tokens} tokens came instead of ${OUTPUT_TOKENS}`);
}

console.log(
  "sequences      CPU us/token       CPU us/step  engine thread, wall us/step  apart: the device's sleep, CPU us/step",
);
for (const sequences of [1, 16, 64, 256]) {
  const row = await measure(sequences);
  const cells = [
    String(sequences).padStart(9),
    formatFigure(row.usPerToken, 2).padStart(16),
    formatFigure(row.usPerStep, 0).padStart(16),
    formatFigure(row.engineUsPerStep, 0).padStart(27),
    formatFigure(row.sleepUsPerStep, 0).padStart(41),
  ];
  console.log(cells.join("  "));
}
await text.close();
