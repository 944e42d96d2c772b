/**
 * Whether our benchmark client and an independent one, written with the `openai` package, measure the same: both drive
 * one endpoint with the same prompts and concurrency, turn by turn, and their figures are compared.
 *
 *   bun bench/client-agreement.ts                 against a mock server in a process of its own
 *   bun bench/client-agreement.ts URL [MODEL]     against a real one without a key
 */
import { parseArgs } from "node:util";
import OpenAI from "openai";
import { EndpointApi } from "../src/bench/endpoint-api.ts";
import { count, parseEndpoint } from "../src/bench/plan-bench.ts";
import { threeDigits } from "../src/bench/report/format.ts";
import { textTable } from "../src/bench/report/text-table.ts";
import { type BenchPlan, runBench } from "../src/bench/run-bench.ts";
import { quantileOfSorted, sortedCopy } from "../src/bench/stats/distribution.ts";
import { summarize } from "../src/bench/stats/summary.ts";
import { type Cell, describeLoad, type RequestRecord } from "../src/bench/types.ts";
import { syntheticWorkload } from "../src/bench/workload/synthetic.ts";
import { calibrate, type PromptScale } from "../src/bench/workload/token-counter.ts";
import { systemClock } from "../src/core/clock.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    concurrency: { type: "string", default: "8" },
    requests: { type: "string", default: "64" },
    rounds: { type: "string", default: "9" },
    tokens: { type: "string", default: "64" },
  },
});
const concurrency = count("--concurrency", values.concurrency);
const requests = count("--requests", values.requests);
const rounds = count("--rounds", values.rounds);
const tokens = count("--tokens", values.tokens);

const workload = syntheticWorkload({
  input: { kind: "fixed", tokens: 128 },
  output: { kind: "fixed", tokens },
  sharedPrefixTokens: 0,
  prefixGroups: 1,
  turns: 1,
  seed: 1,
});
const load = { kind: "closed", concurrency } as const;

/** The other client: the `openai` package's own streaming, timed where its user sees the text. */
async function runOpenAi(
  baseURL: string,
  model: string,
  scale: PromptScale,
  cell: number,
): Promise<[RequestRecord[], number]> {
  const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
  const records: RequestRecord[] = [];
  let next = 0;
  const startMs = performance.now();
  const user = async (): Promise<void> => {
    while (next < requests) {
      const session = next++;
      const { content, maxTokens } = workload.session(cell, session, scale).turns[0]!;
      const sentMs = performance.now();
      const stream = await client.chat.completions.create({
        model,
        messages: [{ role: "user", content }],
        max_tokens: maxTokens,
        temperature: 0,
        stream: true,
        stream_options: { include_usage: true },
        ...{ ignore_eos: true, min_tokens: maxTokens },
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
    }
  };
  await Promise.all(Array.from({ length: concurrency }, user));
  return [records, performance.now() - startMs];
}

async function runOurs(url: string, model: string | undefined, cell: number): Promise<[RequestRecord[], number]> {
  const plan: BenchPlan = {
    endpoints: [{ ...parseEndpoint(url), model }],
    api: "chat",
    headers: { authorization: "Bearer none" },
    cells: [{ index: cell, load, ...describeLoad(load) } satisfies Cell],
    workload,
    sessionsOf: () => requests,
    durationMs: Number.POSITIVE_INFINITY,
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
  const quiet = { onPrepare() {}, onProgress() {}, onSliceEnd() {} };
  const results = await runBench(plan, quiet, systemClock, new AbortController().signal);
  return [results.records, results.slices[0]!.elapsedMs];
}

/** Times like those of a small model on a CPU; below them the other client's own millisecond a request shows. */
async function startMock(): Promise<{ url: string; stop: () => void }> {
  const child = Bun.spawn(
    [process.execPath, `${import.meta.dir}/mock-server.ts`, "--ttft-ms", "100", "--itl-ms", "10"],
    {
      stdout: "pipe",
    },
  );
  const line = await child.stdout.getReader().read();
  return { url: new TextDecoder().decode(line.value).trim(), stop: () => child.kill() };
}

const mock = positionals[0] === undefined ? await startMock() : undefined;
const url = positionals[0] ?? mock!.url;
const baseURL = parseEndpoint(url).baseUrl.href;
const model = positionals[1] ?? (await new OpenAI({ baseURL, apiKey: "none" }).models.list()).data[0]!.id;
// The same prompts for both: ours calibrates their lengths at every run, and comes to the same scale.
const api = new EndpointApi({ ...parseEndpoint(url), model }, "chat", {});
await api.probe(true);
const scale = await calibrate(api);

type Figures = ReturnType<typeof summarize>;
const FIGURES: ReadonlyArray<readonly [string, (figures: Figures) => number | undefined]> = [
  ["TTFT mean, ms", (f) => f.ttftMs?.mean],
  ["TTFT p50, ms", (f) => f.ttftMs?.p50],
  ["ITL mean, ms", (f) => f.itlMs?.mean],
  ["TPOT mean, ms", (f) => f.tpotMs?.mean],
  ["E2E mean, ms", (f) => f.e2eMs?.mean],
  ["output tok/s", (f) => f.outputTokensPerS],
];
const perRound: Array<{ ours: Figures; openai: Figures }> = [];
for (let round = 0; round <= rounds; round++) {
  const run = async (side: "ours" | "openai"): Promise<Figures> => {
    // Prompts differ from turn to turn, so that no prefix cache helps the second.
    const cell = 2 * round + (side === "ours" ? 0 : 1);
    const [records, elapsedMs] =
      side === "ours" ? await runOurs(url, model, cell) : await runOpenAi(baseURL, model, scale, cell);
    return summarize(records, elapsedMs, undefined);
  };
  // Whoever goes first changes.
  const ours = round % 2 === 0 ? await run("ours") : undefined;
  const openai = await run("openai");
  // The first round compiles the code of both.
  if (round > 0) perRound.push({ ours: ours ?? (await run("ours")), openai });
}
mock?.stop();

const median = (values: readonly number[]): number => quantileOfSorted(sortedCopy(values), 0.5);
const rows = FIGURES.map(([name, of]) => {
  const side = (pick: (round: (typeof perRound)[number]) => Figures) =>
    perRound.map((round) => of(pick(round)) ?? Number.NaN);
  const [a, b] = [side((round) => round.ours), side((round) => round.openai)];
  // A ratio within each round: the machine's drift hits both sides of it.
  return { name, a: median(a), b: median(b), ratio: median(a.map((value, i) => value / b[i]!)) };
});
console.log(
  `${rounds} rounds of ${requests} requests a side at concurrency ${concurrency}, ${tokens} tokens each, ${baseURL}; medians`,
);
console.log(
  textTable(
    ["", "ours", "openai", "ours / openai"],
    rows.map(({ name, a, b, ratio }) => [name, threeDigits(a), threeDigits(b), ratio.toFixed(4)]),
  ),
);
const worst = rows.reduce((most, row) => (Math.abs(row.ratio - 1) > Math.abs(most.ratio - 1) ? row : most));
console.log(`largest difference: ${(Math.abs(worst.ratio - 1) * 100).toFixed(2)}% (${worst.name})`);
process.exit(Math.abs(worst.ratio - 1) <= 0.03 ? 0 : 1);
