import { join } from "node:path";
import { locateLibrary } from "../../src/backend/library.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { GenerateRequest } from "../../src/core/generate.ts";
import { DEFAULT_SAMPLING } from "../../src/core/sampling-params.ts";
import { DEFAULT_ENGINE_OPTIONS } from "../../src/engine/engine-options.ts";
import { openModel } from "../../src/model/open-model.ts";
import { LocalReplica } from "../../src/replica/local.ts";
import { createTextService } from "../../src/text/worker-text-service.ts";

/**
 * Short prompts among long ones, on the bundled model: TTFT of 128-token prompts, alone and while 2,048-token prompts
 * arrive at a share of what the engine can do, and the gaps between the tokens of everything that streams meanwhile.
 * Targets: p99 TTFT under 4 times idle, p99 ITL under --itl-target-ms.
 *
 *   bun bench/engine/mixed-load.ts [--seconds 120] [--itl-target-ms 100] [--load 0.7]
 */
function flag(name: string, value: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? value : Number(process.argv[at + 1]);
}

const SHORT = { promptTokens: 128, outputTokens: 32 };
const LONG = { promptTokens: 2048, outputTokens: 64 };
const seconds = flag("seconds", 120);
const itlTargetMs = flag("itl-target-ms", 100);
const load = flag("load", 0.7);

const model = openModel(join(import.meta.dir, "../../models/SmolLM2-135M-Instruct.Q4_1.gguf"));
const text = await createTextService(model.text, { maxModelLen: 8192 });
const replica = await LocalReplica.start({
  name: "bundled",
  backend: {
    kind: "load",
    load: {
      plan: model.plan,
      libraryPath: await locateLibrary(),
      weightFormat: "auto",
      isa: "auto",
      numThreads: 0,
      kvDtype: "auto",
      blockSize: 16,
      kvCacheMemoryBytes: 0,
      maxModelLen: 0,
    },
  },
  engine: { ...DEFAULT_ENGINE_OPTIONS, itlTargetMs },
  tokenizer: text.tokenizer,
  clock: systemClock,
});

interface Timing {
  ttftMs: number;
  itlsMs: number[];
}

let numRequests = 0;

async function serve({ promptTokens, outputTokens }: typeof SHORT): Promise<Timing> {
  const id = ++numRequests;
  const request: GenerateRequest = {
    id: `bench-${id}`,
    model: "bundled",
    promptTokenIds: Int32Array.from({ length: promptTokens }, (_, i) => (id * 7919 + i * 131) % 40_000),
    promptText: undefined,
    n: 1,
    sampling: { ...DEFAULT_SAMPLING, maxTokens: outputTokens, ignoreEos: true },
    priority: 0,
    tenant: "",
    deadlineMs: undefined,
    resume: undefined,
  };
  const startMs = performance.now();
  const timing: Timing = { ttftMs: 0, itlsMs: [] };
  let lastMs = 0;
  for await (const event of replica.generate(request, new AbortController().signal)) {
    if (event.type !== "text-delta") continue;
    const nowMs = performance.now();
    if (lastMs === 0) timing.ttftMs = nowMs - startMs;
    else timing.itlsMs.push(nowMs - lastMs);
    lastMs = nowMs;
  }
  return timing;
}

function quantile(values: number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

const row = (name: string, values: number[]) =>
  console.log(
    `${name.padEnd(34)} p50 ${quantile(values, 0.5).toFixed(0).padStart(6)}  p99 ${quantile(values, 0.99).toFixed(0).padStart(6)} ms`,
  );

/** Poisson arrivals for the whole run; resolves when all are served. */
async function arrive(meanGapMs: number, shape: typeof SHORT): Promise<Timing[]> {
  const endMs = performance.now() + seconds * 1000;
  const served: Promise<Timing>[] = [];
  for (;;) {
    await Bun.sleep(-meanGapMs * Math.log(1 - Math.random()));
    if (performance.now() > endMs) return Promise.all(served);
    served.push(serve(shape));
  }
}

for (let i = 0; i < 3; i++) await serve(SHORT);
const idle: number[] = [];
for (let i = 0; i < 10; i++) idle.push((await serve(SHORT)).ttftMs);
row("128-token prompt alone: TTFT", idle);

// Capacity in long requests: how long four of them take together.
const startMs = performance.now();
await Promise.all([LONG, LONG, LONG, LONG].map(serve));
const longMs = (performance.now() - startMs) / 4;
console.log(
  `a 2048-token prompt with 64 tokens of output takes ${longMs.toFixed(0)} ms of the device; ${load * 100}% load`,
);
const [long, short] = await Promise.all([arrive(longMs / load, LONG), arrive(2000, SHORT)]);
row(
  `128-token prompts (${short.length}): TTFT`,
  short.map(({ ttftMs }) => ttftMs),
);
row(
  `2048-token prompts (${long.length}): TTFT`,
  long.map(({ ttftMs }) => ttftMs),
);
row(
  `all streams: ITL, target ${itlTargetMs}`,
  [...short, ...long].flatMap(({ itlsMs }) => itlsMs),
);
console.log(
  `p99 TTFT under load is ${(
    quantile(
      short.map(({ ttftMs }) => ttftMs),
      0.99,
    ) / quantile(idle, 0.5)
  ).toFixed(1)} times idle`,
);
await replica.close();
await text.close();
