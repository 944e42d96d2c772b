import { readdirSync, readFileSync } from "node:fs";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { MODEL_NAME, startBinary } from "../../test/e2e/binary.ts";
import { Random } from "../../test/sim/random.ts";

/**
 * 64 clients of the built server with the bundled model, over every protocol, many of which go away: before the first
 * token, in the middle of a stream, while their prompt is computed. Prints the server's memory and open files over time
 * and ends with 1 where memory goes on growing after a warm-up, something is left running, or a request fails.
 *
 *   bun bench/engine/soak.ts [--minutes 5] [--streams 64] [--seed 1]
 */
function flag(name: string, value: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? value : Number(process.argv[at + 1]);
}

const minutes = flag("minutes", 5);
const numStreams = flag("streams", 64);
const seed = flag("seed", 1);
/** Until caches are full, code is compiled and heaps have found their size. */
const WARM_UP_SHARE = 0.4;
/** Three clients here pool connections, each at most one a stream at a time; a server holds some files beside. */
const MOST_OPEN_FILES = 3 * numStreams + 100;
/** Slope of the fitted line after that. A leak of 1 kB a request is 1 to 2 MB a minute here. */
const MOST_MB_PER_MINUTE = 1;
const SAMPLE_MS = 1000;

// No more KV memory than fills up during the warm-up: a page counts from its first use.
const server = await startBinary(["--no-supervise", "--log-level", "error", "--kv-cache-memory", "256MiB"]);
const { pid } = server.process;
const counts = { finished: 0, left: 0, failed: 0 };

/** Reads a stream until its end, or as far as its reader stays. Resolves with whether the end came. */
type Call = (prompt: string, maxTokens: number, signal: AbortSignal, leaveAfter: number) => Promise<boolean>;

const WORDS = "the cat sat on a mat and told of rivers, mountains and the long way home while rain fell".split(" ");
const sampling = (maxTokens: number) => ({ maxTokens, temperature: 1, ignoreEos: true });

async function rest(path: string, body: object, signal: AbortSignal, leaveAfter: number): Promise<boolean> {
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
  return async (prompt, maxTokens, signal, leaveAfter) => {
    const request = {
      model: MODEL_NAME,
      prompt: { case: "text" as const, value: prompt },
      sampling: sampling(maxTokens),
    };
    let events = 0;
    let ended = false;
    for await (const { event } of client.generate(request, { signal })) {
      if (event.case === "end") ended = true;
      if (++events >= leaveAfter) return false;
    }
    return ended;
  };
}

const CALLS: readonly Call[] = [
  (prompt, maxTokens, signal, leaveAfter) =>
    rest(
      "chat/completions",
      { messages: [{ role: "user", content: prompt }], max_tokens: maxTokens, stream: true },
      signal,
      leaveAfter,
    ),
  (prompt, maxTokens, signal, leaveAfter) =>
    rest("completions", { prompt, max_tokens: maxTokens, n: 2, logprobs: 3, stream: true }, signal, leaveAfter),
  (prompt, maxTokens, signal) =>
    rest("completions", { prompt, max_tokens: maxTokens, stop: ["river"] }, signal, Number.POSITIVE_INFINITY),
  rpc(createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" })),
  rpc(createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1" })),
  rpc(createGrpcTransport({ baseUrl: `http://${server.grpc}` })),
];

/** One client: request after request until the time is over. A third stay, a third leave by count, a third by time. */
async function stream(random: Random, endMs: number): Promise<void> {
  while (performance.now() < endMs) {
    const call = random.pick(CALLS);
    const length = random.pick([4, 40, 400]);
    const prompt = Array.from({ length: random.integer(1, length) }, () => random.pick(WORDS)).join(" ");
    const fate = random.integer(0, 2);
    const abort = new AbortController();
    const timer = fate === 2 ? setTimeout(() => abort.abort(), random.exponential(800)) : undefined;
    const leaveAfter = fate === 1 ? random.integer(1, 40) : Number.POSITIVE_INFINITY;
    try {
      const ended = await call(prompt, random.integer(1, 100), abort.signal, leaveAfter);
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

const rssMb = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1000;
const openFiles = () => readdirSync(`/proc/${pid}/fd`).length;

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^scalellm:${name}\\{[^}]*\\} (\\S+)$`, "m").exec(text)![1]);
}

/** Least squares of y over x. */
function slope(points: readonly { x: number; y: number }[]): number {
  const n = points.length;
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / n;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / n;
  const xy = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0);
  return xy / points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
}

const startMs = performance.now();
const endMs = startMs + minutes * 60_000;
const samples: { x: number; y: number }[] = [];
let mostOpenFiles = 0;
console.log(`${numStreams} streams for ${minutes} minutes, seed ${seed}`);
console.log("minute  RSS MB  open files  finished  went away  failed");
let nextRow = 0;
const sampler = setInterval(() => {
  const minute = (performance.now() - startMs) / 60_000;
  const mb = rssMb();
  samples.push({ x: minute, y: mb });
  const files = openFiles();
  mostOpenFiles = Math.max(mostOpenFiles, files);
  if (minute < nextRow) return;
  nextRow += minutes / 20;
  const cells = [minute.toFixed(2).padStart(6), mb.toFixed(1).padStart(6), String(files).padStart(10)];
  console.log([...cells, counts.finished, counts.left, counts.failed].join("  "));
}, SAMPLE_MS);

await Promise.all(Array.from({ length: numStreams }, (_, i) => stream(new Random(1000 * seed + i), endMs)));
clearInterval(sampler);

let busy = 1;
for (let i = 0; i < 50 && busy > 0; i++) {
  await Bun.sleep(100);
  busy = (await metric("num_requests_running")) + (await metric("num_requests_waiting"));
}
const usage = await metric("kv_cache_usage_perc");
const measured = samples.filter(({ x }) => x > WARM_UP_SHARE * minutes);
const perMinute = slope(measured);
const code = await server.stop();
console.log(
  `after the warm-up RSS changed by ${perMinute.toFixed(2)} MB a minute (at most ${MOST_MB_PER_MINUTE}), ` +
    `${counts.finished} finished, ${counts.left} went away, ${counts.failed} failed; ` +
    `left running ${busy}, KV in use ${usage}, at most ${mostOpenFiles} open files (bound ${MOST_OPEN_FILES}), ` +
    `exit code ${code}`,
);
const bounded = perMinute <= MOST_MB_PER_MINUTE && mostOpenFiles <= MOST_OPEN_FILES;
const flat = bounded && busy === 0 && usage === 0 && counts.failed === 0 && code === 0;
console.log(flat ? "flat" : "NOT flat");
process.exit(flat ? 0 : 1);
