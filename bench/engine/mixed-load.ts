import { join } from "node:path";
import { locateLibrary } from "../../src/backend/library.ts";
import { systemClock } from "../../src/core/clock.ts";
import { DEFAULT_ENGINE_OPTIONS } from "../../src/engine/engine-options.ts";
import { openModel } from "../../src/model/open-model.ts";
import { LocalReplica } from "../../src/replica/local.ts";
import { createTextService } from "../../src/text/worker-text-service.ts";
import { tokenRequest } from "./token-request.ts";

/**
 * Short prompts among long ones, on the bundled model: TTFT of 128-token prompts, alone and while 2,048-token prompts
 * arrive at a share of what the engine can do, and the gaps between the tokens of everything that streams meanwhile.
 * Targets: p99 TTFT under 4 times idle, p99 ITL under --itl-target-ms.
 *
 * Idle and loaded phases take turns, so that both meet the same machine: each TTFT under load is divided by the median of
 * its own round's idle ones. The quotients of all rounds are pooled, since a p99 of one minute's requests would be its
 * worst one. Before the first, every page of the KV cache is written once: the system finds and clears 2 MiB of memory at
 * a page's first use, which may be what stalled steps of young servers.
 *
 *   bun bench/engine/mixed-load.ts [--rounds 4] [--seconds 45] [--itl-target-ms 100] [--load 0.7]
 */
function flag(name: string, value: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? value : Number(process.argv[at + 1]);
}

const SHORT = { promptTokens: 128, outputTokens: 32 };
const LONG = { promptTokens: 2048, outputTokens: 64 };
const SHORT_GAP_MS = 2000;
const IDLE_REQUESTS = 8;
/** Room for ten of the long prompts: more wait only where the load is above capacity for long. */
const KV_CACHE_BYTES = 512 * 1024 ** 2;
const rounds = flag("rounds", 4);
const seconds = flag("seconds", 45);
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
      kvCacheMemoryBytes: KV_CACHE_BYTES,
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
  const promptTokenIds = Int32Array.from({ length: promptTokens }, (_, i) => (id * 7919 + i * 131) % 40_000);
  const request = tokenRequest(`bench-${id}`, promptTokenIds, outputTokens);
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

const ttfts = (timings: Timing[]) => timings.map(({ ttftMs }) => ttftMs);

const cell = (value: number) => value.toFixed(0).padStart(7);

const row = (name: string, values: number[]) =>
  console.log(
    `${name.padEnd(40)} ${[0.5, 0.9, 0.99, 1].map((q) => cell(quantile(values, q))).join(" ")}  ${values.length}`,
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

/** Writes every block of the KV cache once. */
async function fillKvCache(): Promise<void> {
  const { numBlocks, blockSize } = replica.engine.info;
  const count = Math.ceil((numBlocks * blockSize) / LONG.promptTokens);
  for (let i = 0; i < count; i++) await serve({ ...LONG, outputTokens: 1 });
}

/** How long a long request takes of the device when there are four at a time. */
async function measureLong(): Promise<number> {
  const startMs = performance.now();
  await Promise.all([LONG, LONG, LONG, LONG].map(serve));
  return (performance.now() - startMs) / 4;
}

await fillKvCache();
const longMs = await measureLong();
console.log(
  `a ${LONG.promptTokens}-token prompt with ${LONG.outputTokens} tokens of output takes ${cell(longMs)} ms of the device; ` +
    `${load * 100}% load`,
);
const idle: number[] = [];
const short: Timing[] = [];
const long: Timing[] = [];
/** TTFTs under load, in medians of their rounds' idle ones. */
const ratios: number[] = [];
for (let round = 1; round <= rounds; round++) {
  const alone: number[] = [];
  for (let i = 0; i < IDLE_REQUESTS; i++) alone.push((await serve(SHORT)).ttftMs);
  const before = { atMs: performance.now(), stepMs: replica.stats().engine!.stepMs };
  const [longOnes, shortOnes] = await Promise.all([arrive(longMs / load, LONG), arrive(SHORT_GAP_MS, SHORT)]);
  const busy = (replica.stats().engine!.stepMs - before.stepMs) / (performance.now() - before.atMs);
  const idleMs = quantile(alone, 0.5);
  const loadedMs = ttfts(shortOnes);
  const worstMs = quantile(loadedMs, 0.99);
  ratios.push(...loadedMs.map((ms) => ms / idleMs));
  console.log(
    `round ${round}: idle TTFT p50 ${cell(idleMs)}, loaded p99 ${cell(worstMs)} ms of ${shortOnes.length} ` +
      `(${(worstMs / idleMs).toFixed(1)} times idle) beside ${longOnes.length} long ones, device busy ${(100 * busy).toFixed(0)}%`,
  );
  idle.push(...alone);
  short.push(...shortOnes);
  long.push(...longOnes);
}

const itls = [...short, ...long].flatMap(({ itlsMs }) => itlsMs);
console.log(`${"ms".padEnd(40)}     p50     p90     p99     max  count`);
row(`${SHORT.promptTokens}-token prompts alone: TTFT`, idle);
row(`${SHORT.promptTokens}-token prompts under load: TTFT`, ttfts(short));
row(`${LONG.promptTokens}-token prompts: TTFT`, ttfts(long));
row(`all streams: ITL, target ${itlTargetMs}`, itls);
console.log(
  `p99 TTFT under load is ${quantile(ratios, 0.99).toFixed(1)} times idle (target: under 4), p99 ITL ` +
    `${quantile(itls, 0.99).toFixed(0)} ms (target: under ${itlTargetMs})`,
);
await replica.close();
await text.close();
