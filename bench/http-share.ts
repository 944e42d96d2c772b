// How much of the engine's throughput arrives through HTTP: `make bench-http-share`. One server, the bundled model. Each
// round, requests of 62 prompt and 64 output tokens go to its replica from inside the process, and over HTTP from a
// process of its own, taking turns at being first. That is curl, whose own work is small, or with --client bench
// `scalellm bench`, which takes about as much of the machine's cores as the server's HTTP does. Target: at least 90% at
// every load.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startServer } from "../src/cli/start-server.ts";
import { loadSettings } from "../src/config/load-settings.ts";
import type { LocalReplica } from "../src/replica/local.ts";
import { tokenRequest } from "./engine/token-request.ts";
import { figureOf, formatFigure } from "./figure.ts";

const { values: flags } = parseArgs({
  options: {
    concurrency: { type: "string", default: "1,4,16,64" },
    rounds: { type: "string", default: "5" },
    client: { type: "string", default: "curl" },
  },
});
const PROMPT_TOKENS = 62;
const OUTPUT_TOKENS = 64;
const results = join(import.meta.dir, "../build/http-share.jsonl");
const curlConfig = join(import.meta.dir, "../build/http-share.curl");

/** Requests of a turn, enough for the first and last ones not to matter. */
const requestsOf = (concurrency: number): number => Math.max(8, 3 * concurrency);

const { settings } = loadSettings(["--port", "0", "--no-grpc", "--log-level", "warn"]);
const server = await startServer(settings);
const { name: model, replica } = await server.ready;
let numRequests = 0;

/** A prompt that no request had before. */
function nextPrompt(): number[] {
  const id = ++numRequests;
  return Array.from({ length: PROMPT_TOKENS }, (_, i) => 1000 + ((id * 7919 + i * 131) % 40_000));
}

async function generate(to: LocalReplica): Promise<void> {
  const prompt = Int32Array.from(nextPrompt());
  const request = tokenRequest(`in-process-${numRequests}`, prompt, OUTPUT_TOKENS);
  for await (const _ of to.generate(request, new AbortController().signal));
}

/** Tokens/s of a closed loop on the replica itself. */
async function inProcess(concurrency: number): Promise<number> {
  let left = requestsOf(concurrency);
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left-- > 0) await generate(replica);
    }),
  );
  return (requestsOf(concurrency) * OUTPUT_TOKENS * 1000) / (performance.now() - startMs);
}

/** Tokens/s of the same requests, streamed over HTTP to curl. */
async function toCurl(concurrency: number): Promise<number> {
  const options = {
    model,
    max_tokens: OUTPUT_TOKENS,
    ignore_eos: true,
    stream: true,
    temperature: 0,
    repetition_penalty: 1,
  };
  const requests = Array.from({ length: requestsOf(concurrency) }, () => {
    const body = JSON.stringify(JSON.stringify({ ...options, prompt: nextPrompt() }));
    const header = 'header = "content-type: application/json"';
    return `url = "${server.url}/v1/completions"\n${header}\ndata = ${body}\noutput = "/dev/null"\nfail\n`;
  });
  await Bun.write(curlConfig, requests.join("next\n"));
  const before = replica.stats().outputTokens;
  const startMs = performance.now();
  const command = [
    "curl",
    "--no-progress-meter",
    "--parallel",
    "--parallel-immediate",
    "--parallel-max",
    `${concurrency}`,
  ];
  const child = Bun.spawn([...command, "--config", curlConfig], { stdio: ["ignore", "ignore", "inherit"] });
  if ((await child.exited) !== 0) throw new Error("curl failed");
  const elapsedMs = performance.now() - startMs;
  const tokens = replica.stats().outputTokens - before;
  if (tokens !== requests.length * OUTPUT_TOKENS) throw new Error(`${tokens} tokens were streamed`);
  return (tokens * 1000) / elapsedMs;
}

/** Tokens/s of the same load from our own client. */
async function toBench(concurrency: number): Promise<number> {
  const command = ["dist/scalellm", "bench", server.url, "--api", "completions", "--warmup", "1"]
    .concat(["--input-tokens", `${PROMPT_TOKENS}`, "--output-tokens", `${OUTPUT_TOKENS}`])
    .concat(["--seed", `${++numRequests}`, "--concurrency", `${concurrency}`])
    .concat(["--requests", `${requestsOf(concurrency)}`, "--output", results]);
  const child = Bun.spawn(command, { stdio: ["ignore", "ignore", "ignore"] });
  if ((await child.exited) !== 0) throw new Error("scalellm bench failed");
  const lines = (await Bun.file(results).text()).trimEnd().split("\n");
  const figures = lines.map((line) => JSON.parse(line)).find(({ type }) => type === "figures");
  return figures.outputTokensPerS;
}

const clients: Record<string, (concurrency: number) => Promise<number>> = { curl: toCurl, bench: toBench };
const overHttp = clients[flags.client];
if (!overHttp) throw new Error("--client is curl or bench");
console.log(`${"streams".padEnd(9)}${"in-process tok/s".padEnd(24)}${"HTTP tok/s".padEnd(24)}HTTP / in-process`);
for (const concurrency of flags.concurrency.split(",").map(Number)) {
  const [inside, http]: [number[], number[]] = [[], []];
  await inProcess(concurrency);
  for (let round = 0; round < Number(flags.rounds); round++) {
    if (round % 2 === 0) inside.push(await inProcess(concurrency));
    http.push(await overHttp(concurrency));
    if (round % 2 === 1) inside.push(await inProcess(concurrency));
  }
  const ratios = inside.map((value, i) => http[i]! / value);
  const cell = (values: readonly number[], digits: number) => formatFigure(figureOf(values), digits);
  console.log(
    `${String(concurrency).padEnd(9)}${cell(inside, 0).padEnd(24)}${cell(http, 0).padEnd(24)}${cell(ratios, 2)}`,
  );
}
await server.stop(false);
process.exit(0);
