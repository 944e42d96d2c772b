import { readdirSync, readFileSync } from "node:fs";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { MODEL_NAME, startBinary } from "../../test/e2e/binary.ts";
import { Random } from "../../test/sim/random.ts";
import { residentMb } from "../server-process.ts";
import { fitTrend } from "./trend.ts";

/**
 * 64 clients of the built server with the bundled model, over every protocol, many of which go away: before the first
 * token, in the middle of a stream, while their prompt is computed. Prints the server's memory and open files over time
 * and ends with 1 unless memory is shown to stay flat after a warm-up, nothing is left running and no request fails.
 *
 *   bun bench/engine/soak.ts [--minutes 12] [--streams 64] [--seed 1]
 */
function flag(name: string, value: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? value : Number(process.argv[at + 1]);
}

const minutes = flag("minutes", 12);
const numStreams = flag("streams", 64);
const seed = flag("seed", 1);
/**
 * Short requests before the minutes begin. Over the first 10,000 requests RSS rises by 2 kB each: code is compiled, heaps
 * find their size. Then it stays: with a null backend, and without gRPC, it was 177 MB on average up to request 10,700,
 * then 187, 184 and 184 MB up to 28,600, 43,000 and 54,500.
 */
const WARM_UP_REQUESTS = 15_000;
/** Of the minutes, until long prompts have touched all of the KV cache. */
const WARM_UP_SHARE = 0.4;
/** Four clients here hold connections, each at most one a stream at a time; a server holds some files beside. */
const MOST_OPEN_FILES = 4 * numStreams + 100;
/** What the slope of the fitted line may be after that, two standard errors added. 1 kB a request is 0.8 MB a minute at 760 requests. */
const MOST_MB_PER_MINUTE = 1;
const SAMPLE_MS = 1000;
/** What the mean of is one point of the fit: long against the time between two collections of a heap. */
const POINT_SAMPLES = 20;
/** A mapping's growth after the warm-up that is told where the slope is too steep. */
const TOLD_MB = 1;

// No more KV memory than fills up during the warm-up: a page counts from its first use.
const args = ["--no-supervise", "--log-level", "error", "--kv-cache-memory", "256MiB"];
// A heap grows by a quarter between two collections instead of doubling: garbage that comes and goes would hide a leak.
const server = await startBinary(args, { BUN_JSC_forceRAMSize: String(64 * 1024 ** 2) });
const { pid } = server.process;
const counts = { finished: 0, left: 0, failed: 0 };

/** Reads a stream until its end, or as far as its reader stays. Resolves with whether the end came. */
type Call = (prompt: string, maxTokens: number, abort: AbortController, leaveAfter: number) => Promise<boolean>;

const WORDS = "the cat sat on a mat and told of rivers, mountains and the long way home while rain fell".split(" ");
const sampling = (maxTokens: number) => ({ maxTokens, temperature: 1, ignoreEos: true });

async function rest(path: string, body: object, { signal }: AbortController, leaveAfter: number): Promise<boolean> {
  const response = await fetch(`${server.url}/v1/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL_NAME, temperature: 1, ignore_eos: true, ...body }),
    signal,
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  let events = 0;
  let text = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body!) {
    text = (text + decoder.decode(bytes, { stream: true })).slice(-200);
    // Leaving the loop cancels the body, and with it the request.
    if (++events >= leaveAfter) return false;
  }
  return text.includes("[DONE]") || text.endsWith("}");
}

function rpc(transport: Transport): Call {
  const client = createClient(InferenceService, transport);
  return async (prompt, maxTokens, abort, leaveAfter) => {
    const request = {
      model: MODEL_NAME,
      prompt: { case: "text" as const, value: prompt },
      sampling: sampling(maxTokens),
    };
    let events = 0;
    let ended = false;
    for await (const { event } of client.generate(request, { signal: abort.signal })) {
      if (event.case === "end") ended = true;
      // Leaving the loop would not do: Bun's HTTP clients then keep the connection, or the stream, and tell nobody.
      if (++events >= leaveAfter) abort.abort();
    }
    return ended;
  };
}

const PROTOCOLS: readonly Call[] = [
  (prompt, maxTokens, abort, leaveAfter) =>
    rest(
      "chat/completions",
      { messages: [{ role: "user", content: prompt }], max_tokens: maxTokens, stream: true },
      abort,
      leaveAfter,
    ),
  (prompt, maxTokens, abort, leaveAfter) =>
    rest("completions", { prompt, max_tokens: maxTokens, n: 2, logprobs: 3, stream: true }, abort, leaveAfter),
  (prompt, maxTokens, abort) =>
    rest("completions", { prompt, max_tokens: maxTokens, stop: ["river"] }, abort, Number.POSITIVE_INFINITY),
  rpc(createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" })),
  rpc(createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1" })),
];

interface Load {
  /** A prompt's longest, in words: one of these. */
  readonly promptWords: readonly number[];
  readonly maxTokens: number;
  /** Those who leave by count do so after at most so many events. */
  readonly mostEvents: number;
}
const SHORT: Load = { promptWords: [4], maxTokens: 4, mostEvents: 2 };
const MIXED: Load = { promptWords: [4, 40, 400], maxTokens: 100, mostEvents: 40 };

/** One client: request after request while `goesOn`. A third stay, a third leave by count, a third by time. */
async function stream(calls: readonly Call[], random: Random, load: Load, goesOn: () => boolean): Promise<void> {
  while (goesOn()) {
    const call = random.pick(calls);
    const length = random.pick(load.promptWords);
    const prompt = Array.from({ length: random.integer(1, length) }, () => random.pick(WORDS)).join(" ");
    const fate = random.integer(0, 2);
    const abort = new AbortController();
    const timer = fate === 2 ? setTimeout(() => abort.abort(), random.exponential(800)) : undefined;
    const leaveAfter = fate === 1 ? random.integer(1, load.mostEvents) : Number.POSITIVE_INFINITY;
    try {
      const ended = await call(prompt, random.integer(1, load.maxTokens), abort, leaveAfter);
      if (ended) counts.finished++;
      else if (fate === 1) counts.left++;
      else throw new Error("a stream ended before its end");
    } catch (error) {
      if (abort.signal.aborted && isCancelled(error)) counts.left++;
      else if (counts.failed++ < 10) console.log(`failed: ${error}`);
    } finally {
      clearTimeout(timer);
    }
  }
}

function isCancelled(error: unknown): boolean {
  return error instanceof ConnectError ? error.code === Code.Canceled : (error as Error).name === "AbortError";
}

const openFiles = () => readdirSync(`/proc/${pid}/fd`).length;

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^scalellm:${name}\\{[^}]*\\} (\\S+)$`, "m").exec(text)![1]);
}

/** Resident MB by mapping: a file's name, or the 4 GiB of addresses in which nameless memory lies. */
function mappings(): Map<string, number> {
  const sizes = new Map<string, number>();
  let name = "";
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    const head = /^([0-9a-f]+)-\S+ (\S+) \S+ \S+ \S+ *(.*)$/.exec(line);
    if (head) name = head[3] || `anonymous ${head[1]!.slice(0, -8)}00000000 ${head[2]}`;
    const rss = /^Rss: +(\d+)/.exec(line);
    if (rss) sizes.set(name, (sizes.get(name) ?? 0) + (Number(rss[1]) * 1024) / 1e6);
  }
  return sizes;
}

/** By client. Each has a gRPC connection of its own: one that resets hundreds of streams a second is told to go away. */
const CALLS = Array.from({ length: numStreams }, () => [
  ...PROTOCOLS,
  rpc(createGrpcTransport({ baseUrl: `http://${server.grpc}` })),
]);

/** Runs every client until `goesOn` says no. */
async function streams(load: Load, goesOn: () => boolean): Promise<void> {
  await Promise.all(CALLS.map((calls, i) => stream(calls, new Random(1000 * seed + i), load, goesOn)));
}

const warmUpStartMs = performance.now();
let begun = 0;
await streams(SHORT, () => begun++ < WARM_UP_REQUESTS);
console.log(
  `${WARM_UP_REQUESTS} short requests in ${Math.round((performance.now() - warmUpStartMs) / 1000)} s, ` +
    `${counts.left} of which went away: RSS ${residentMb(pid).toFixed(1)} MB`,
);
const startMs = performance.now();
const endMs = startMs + minutes * 60_000;
const samples: { x: number; y: number }[] = [];
let mostOpenFiles = 0;
let warmMappings: Map<string, number> | undefined;
console.log(`${numStreams} streams for ${minutes} minutes, seed ${seed}`);
console.log("minute  RSS MB  open files  finished  went away  failed");
let nextRow = 0;
const sampler = setInterval(() => {
  const minute = (performance.now() - startMs) / 60_000;
  const mb = residentMb(pid);
  if (minute > WARM_UP_SHARE * minutes) {
    warmMappings ??= mappings();
    samples.push({ x: minute, y: mb });
  }
  const files = openFiles();
  mostOpenFiles = Math.max(mostOpenFiles, files);
  if (minute < nextRow) return;
  nextRow += minutes / 20;
  const cells = [minute.toFixed(2).padStart(6), mb.toFixed(1).padStart(6), String(files).padStart(10)];
  console.log([...cells, counts.finished, counts.left, counts.failed].join("  "));
}, SAMPLE_MS);

await streams(MIXED, () => performance.now() < endMs);
clearInterval(sampler);
const lastMappings = mappings();

let busy = 1;
for (let i = 0; i < 50 && busy > 0; i++) {
  await Bun.sleep(100);
  busy = (await metric("num_requests_running")) + (await metric("num_requests_waiting"));
}
const usage = await metric("kv_cache_usage_perc");
const { slope, standardError } = fitTrend(samples, POINT_SAMPLES);
const code = await server.stop();
console.log(
  `after the warm-up RSS changed by ${slope.toFixed(2)} MB a minute, standard error ${standardError.toFixed(2)} ` +
    `(slope and two of those at most ${MOST_MB_PER_MINUTE}), ` +
    `${counts.finished} finished, ${counts.left} went away, ${counts.failed} failed; ` +
    `left running ${busy}, KV in use ${usage}, at most ${mostOpenFiles} open files (bound ${MOST_OPEN_FILES}), ` +
    `exit code ${code}`,
);
const steady = slope + 2 * standardError <= MOST_MB_PER_MINUTE;
if (!steady) {
  if (slope <= MOST_MB_PER_MINUTE) console.log("the slope is not known well enough: run for more minutes");
  for (const [name, mb] of lastMappings) {
    const grown = mb - (warmMappings?.get(name) ?? 0);
    if (grown >= TOLD_MB) console.log(`grew by ${grown.toFixed(1)} MB to ${mb.toFixed(1)}: ${name}`);
  }
}
const flat =
  steady && mostOpenFiles <= MOST_OPEN_FILES && busy === 0 && usage === 0 && counts.failed === 0 && code === 0;
console.log(flat ? "flat" : "NOT flat");
process.exit(flat ? 0 : 1);
