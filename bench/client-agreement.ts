/**
 * Whether our benchmark client and an independent one, written with the `openai` package, measure the same: each in a
 * process of its own, both drive one endpoint at the same time with equal loads, so that they meet the same server at the
 * same moments, and their figures are compared.
 *
 * A mock answers every request alone, so each client keeps a number of streams running. A real server has a queue: when
 * streams of both end in the same step, the client that is a millisecond faster with its next request is ahead by a whole
 * prefill, and who meets whom is chance that takes thousands of requests to average out. So a real server gets an open loop
 * with constant arrivals, those of one client halfway between those of the other: neither overtakes, each meets the other as
 * often, and the requests of a number are a pair of equal lengths at nearly the same moment.
 *
 *   bun bench/client-agreement.ts                 against a mock server in a process of its own
 *   bun bench/client-agreement.ts --serve         against dist/scalellm with the bundled model
 *   bun bench/client-agreement.ts URL [MODEL]     against a real one without a key
 */
import { parseArgs } from "node:util";
import OpenAI from "openai";
import { EndpointApi } from "../src/bench/endpoint-api.ts";
import { count, parseEndpoint, positive } from "../src/bench/plan-bench.ts";
import { threeDigits } from "../src/bench/report/format.ts";
import { textTable } from "../src/bench/report/text-table.ts";
import { type BenchPlan, runBench } from "../src/bench/run-bench.ts";
import { type Comparison, compareSamples, type Sample } from "../src/bench/stats/compare.ts";
import { summarize } from "../src/bench/stats/summary.ts";
import { type Cell, describeLoad, type RequestRecord } from "../src/bench/types.ts";
import type { Workload } from "../src/bench/workload/session.ts";
import { syntheticWorkload } from "../src/bench/workload/synthetic.ts";
import { calibrate, type PromptScale } from "../src/bench/workload/token-counter.ts";
import { systemClock } from "../src/core/clock.ts";
import { startScaleLlm } from "./server-process.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** Streams of each client, against the mock. */
    concurrency: { type: "string", default: "4" },
    /** Requests a second of each client, against a real server. It must keep up, or its queue grows without end. */
    rate: { type: "string", default: "2" },
    seconds: { type: "string", default: "15" },
    rounds: { type: "string", default: "10" },
    tokens: { type: "string", default: "48" },
    serve: { type: "boolean", default: false },
  },
});
const load: { kind: "closed"; concurrency: number } | { kind: "constant"; ratePerS: number } =
  values.serve || positionals.length > 0
    ? { kind: "constant", ratePerS: positive("--rate", values.rate) }
    : { kind: "closed", concurrency: count("--concurrency", values.concurrency) };
const durationMs = 1000 * count("--seconds", values.seconds);
const rounds = count("--rounds", values.rounds);
const tokens = count("--tokens", values.tokens);

const synthetic = syntheticWorkload({
  // Long enough for a first token to take 100 ms: of less, the other client's own millisecond a request is much.
  input: { kind: "fixed", tokens: 128 },
  // Spread: streams that ended together would start together again.
  output: { kind: "uniform", min: Math.ceil(tokens / 2), max: tokens + Math.floor(tokens / 2) },
  sharedPrefixTokens: 0,
  prefixGroups: 1,
  turns: 1,
  seed: 1,
});
/** Of a round's two cells: prompts differ, so that neither client meets what the other left in a prefix cache; lengths do not. */
const workload: Workload = {
  ...synthetic,
  session(cell, index, scale) {
    const { content } = synthetic.session(cell, index, scale).turns[0]!;
    const { maxTokens } = synthetic.session(cell >> 1, index, scale).turns[0]!;
    return { index, turns: [{ content, maxTokens }] };
  },
};

/** What one client did in one round; prompts are those of the cell. */
interface Turn {
  records: RequestRecord[];
  elapsedMs: number;
}

/** What the other client's process is told. */
interface Order {
  baseURL: string;
  model: string;
  scale: PromptScale;
  cell: number;
}

/** The other client: the `openai` package's own streaming, timed where its user sees the text. */
async function runOpenAi({ baseURL, model, scale, cell }: Order): Promise<Turn> {
  const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
  const records: RequestRecord[] = [];
  const request = async (session: number): Promise<void> => {
    const { content, maxTokens } = workload.session(cell, session, scale).turns[0]!;
    const sentMs = performance.now();
    const stream = await client.chat.completions.create({
      model,
      messages: [{ role: "user", content }],
      max_tokens: maxTokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      ...{ ignore_eos: true, min_tokens: maxTokens, repetition_penalty: 1 },
    });
    const chunkMs: number[] = [];
    let outputTokens = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) chunkMs.push(performance.now());
      outputTokens = chunk.usage?.completion_tokens ?? outputTokens;
    }
    records.push({
      endpoint: "openai",
      cell,
      session,
      turn: 0,
      scheduledMs: sentMs,
      sentMs,
      endMs: performance.now(),
      chunkMs,
      promptTokens: undefined,
      outputTokens,
      outputTokensFrom: "usage",
      maxTokens,
      error: undefined,
    });
  };
  const startMs =
    load.kind === "closed" ? await inClosedLoop(request, load.concurrency) : await atArrivals(request, load.ratePerS);
  return { records, elapsedMs: performance.now() - startMs };
}

/** Both return when the load began, after its end. */
async function inClosedLoop(request: (session: number) => Promise<void>, concurrency: number): Promise<number> {
  const startMs = performance.now();
  let next = 0;
  const user = async (): Promise<void> => {
    while (performance.now() - startMs < durationMs) await request(next++);
  };
  await Promise.all(Array.from({ length: concurrency }, user));
  return startMs;
}

/** Half a gap after the arrivals of the client that has just begun. */
async function atArrivals(request: (session: number) => Promise<void>, ratePerS: number): Promise<number> {
  const gapMs = 1000 / ratePerS;
  const startMs = performance.now() + gapMs / 2;
  const running: Promise<void>[] = [];
  for (let i = 0; i * gapMs < durationMs; i++) {
    await Bun.sleep(Math.max(0, startMs + i * gapMs - performance.now()));
    running.push(request(i));
  }
  await Promise.all(running);
  return startMs;
}

/** `onStart` is called when the load begins, after probing and calibrating. */
async function runOurs(url: string, model: string, cell: number, onStart: () => void): Promise<Turn> {
  const plan: BenchPlan = {
    endpoints: [{ ...parseEndpoint(url), model }],
    api: "chat",
    headers: { authorization: "Bearer none" },
    cells: [{ index: cell, load, ...describeLoad(load) } satisfies Cell],
    workload,
    sessionsOf: () => Number.MAX_SAFE_INTEGER,
    durationMs,
    warmup: 0,
    rounds: 1,
    timeoutMs: 60_000,
    slo: undefined,
    seed: 1,
    exactLength: true,
    inProcess: false,
    client: "",
    startedAt: "",
  };
  const observer = { onPrepare() {}, onProgress() {}, onSliceEnd() {}, onSliceStart: async () => onStart() };
  const results = await runBench(plan, observer, systemClock, new AbortController().signal);
  return { records: results.records, elapsedMs: results.slices[0]!.elapsedMs };
}

/** Times like those of a small model on a CPU; below them the other client's own millisecond a request shows. */
async function startMock(): Promise<{ url: string; stop: () => void }> {
  const child = Bun.spawn(
    [process.execPath, `${import.meta.dir}/mock-server.ts`, "--ttft-ms", "100", "--itl-ms", "10"],
    { stdout: "pipe" },
  );
  const line = await child.stdout.getReader().read();
  return { url: new TextDecoder().decode(line.value).trim(), stop: () => child.kill() };
}

async function startOwn(): Promise<{ url: string; stop: () => void }> {
  // A core is left for the clients: without one, the slower of them would wait for the server's threads.
  const { url, child } = await startScaleLlm(["--threads", `${Math.max(1, navigator.hardwareConcurrency - 1)}`]);
  return { url, stop: () => child.kill("SIGTERM") };
}

/** The other client's process: a turn for each order. */
function startOther(): { run: (order: Order) => Promise<Turn>; stop: () => void } {
  let turn = Promise.withResolvers<Turn>();
  const child = Bun.spawn([process.execPath, import.meta.path, ...Bun.argv.slice(2)], {
    env: { ...process.env, [OTHER]: "1" },
    stdio: ["ignore", "inherit", "inherit"],
    ipc: (done: Turn) => turn.resolve(done),
    onExit: () => turn.reject(new Error("the openai client's process ended")),
  });
  return {
    run: (order) => {
      turn = Promise.withResolvers();
      child.send(order);
      return turn.promise;
    },
    stop: () => child.kill(),
  };
}

const AGREEMENT = 0.03;
const BOOTSTRAP_SEED = 1;
/** More than a client has in a round. */
const MOST_SESSIONS = 1_000_000;

async function compare(): Promise<number> {
  const started = positionals[0] !== undefined ? undefined : values.serve ? await startOwn() : await startMock();
  const url = positionals[0] ?? started!.url;
  const baseURL = parseEndpoint(url).baseUrl.href;
  const model = positionals[1] ?? (await new OpenAI({ baseURL, apiKey: "none" }).models.list()).data[0]!.id;
  // The same lengths for both: ours calibrates them at every run, and comes to the same scale.
  const api = new EndpointApi({ ...parseEndpoint(url), model }, "chat", {});
  await api.probe(true, () => {}, new AbortController().signal);
  const scale = await calibrate(api);
  const other = startOther();
  const ours: Turn = { records: [], elapsedMs: 0 };
  const openai: Turn = { records: [], elapsedMs: 0 };
  const keep = (side: Turn, { records, elapsedMs }: Turn, round: number): void => {
    for (const record of records) {
      // A closed loop's streams begin all at once, which is no steady load.
      if (load.kind === "closed" && record.session < load.concurrency) continue;
      side.records.push({ ...record, session: record.session + round * MOST_SESSIONS });
    }
    side.elapsedMs += elapsedMs;
  };
  try {
    for (let round = 0; round <= rounds; round++) {
      const start = Promise.withResolvers<Turn>();
      const order = { baseURL, model, scale, cell: 2 * round + 1 };
      const [own, others] = await Promise.all([
        runOurs(url, model, 2 * round, () => start.resolve(other.run(order))),
        start.promise,
      ]);
      const failed = own.records.find(({ error }) => error !== undefined);
      if (failed !== undefined) throw new Error(`our client's request failed: ${failed.error!.detail}`);
      // The first round compiles the code of both.
      if (round === 0) continue;
      keep(ours, own, round);
      keep(openai, others, round);
    }
  } finally {
    other.stop();
    started?.stop();
  }
  const sample = ({ records, elapsedMs }: Turn): Sample => {
    const { outputTokensPerS } = summarize(records, elapsedMs, undefined);
    return { records, outputTokensPerS, load };
  };
  const paired = load.kind === "constant";
  const comparisons = compareSamples(sample(openai), sample(ours), BOOTSTRAP_SEED, paired);
  console.log(
    `${rounds} rounds of ${durationMs / 1000} s, both clients at once with ${describeLoad(load).label} each, ` +
      `${tokens} tokens on average, ${baseURL}; ${ours.records.length} and ${openai.records.length} requests` +
      `${paired ? " in pairs" : ""}`,
  );
  console.log(
    textTable(
      ["", "ours", "openai", "ours / openai", "95%"],
      comparisons.map(({ figure, unit, a, b, interval }) => [
        `${figure}, ${unit}`,
        threeDigits(b),
        threeDigits(a),
        (b / a).toFixed(4),
        interval === undefined ? "-" : `${interval.low.toFixed(3)} .. ${interval.high.toFixed(3)}`,
      ]),
    ),
  );
  const apart = comparisons.filter(isApart).map(({ figure }) => figure);
  const means = comparisons.filter(isMean);
  const worst = means.reduce((most, mean) => (differenceOf(mean) > differenceOf(most) ? mean : most));
  console.log(`largest difference of a mean: ${(differenceOf(worst) * 100).toFixed(2)}% (${worst.figure})`);
  console.log(
    apart.length === 0
      ? `the clients agree: means within ${AGREEMENT * 100}%, no interval of a quantile outside`
      : `NOT WITHIN ${AGREEMENT * 100}%: ${apart.join(", ")}`,
  );
  return apart.length === 0 ? 0 : 1;
}

function isMean({ figure }: Comparison): boolean {
  return figure.endsWith("mean") || figure === "throughput";
}

function differenceOf({ a, b }: Comparison): number {
  return Math.abs(b / a - 1);
}

/**
 * Means must be within the agreement. A quantile is as coarse as the steps of a server, where one request more or less may
 * move it by a whole step: it disagrees when its interval lies outside.
 */
function isApart(comparison: Comparison): boolean {
  if (isMean(comparison)) return !(differenceOf(comparison) <= AGREEMENT);
  const { interval } = comparison;
  return interval === undefined || interval.low > 1 + AGREEMENT || interval.high < 1 - AGREEMENT;
}

/** Set in the environment of the other client's process. */
const OTHER = "CLIENT_AGREEMENT_OTHER";
if (process.env[OTHER] === undefined) process.exit(await compare());
else process.on("message", async (order: Order) => process.send!(await runOpenAi(order)));
