// How long `scalellm serve` takes from its start until /ready answers 200, how much longer its first prompt takes than
// the ones after it, and the memory it holds: `make bench-startup`. The file is in the page cache after the first,
// uncounted start.
import { residentMb, startScaleLlm } from "./server-process.ts";

const RUNS = Number(Bun.argv[2] ?? 7);
const MODEL_BYTES = Bun.file("models/SmolLM2-135M-Instruct.Q4_1.gguf").size;

/** Of each prompt; no two share a block. */
const PROMPT_TOKENS = 400;
const PROMPTS = 6;
/** What a person needs at least to send the first request; the server touches its memory meanwhile. */
const REST_MS = 1000;

interface Start {
  readyMs: number;
  /** Time of the first prompt over the median of the others. */
  firstRatio: number;
  laterMs: number;
  rssMb: number;
  rssAfterMb: number;
}

async function start(): Promise<Start> {
  const startedMs = performance.now();
  const { url, child } = await startScaleLlm();
  const readyMs = performance.now() - startedMs;
  const rss = residentMb(child.pid);
  await Bun.sleep(REST_MS);
  const times: number[] = [];
  for (let prompt = 0; prompt < PROMPTS; prompt++) times.push(await ask(url, prompt));
  const [first, ...later] = times;
  const laterMs = later.toSorted((a, b) => a - b)[later.length >> 1]!;
  const rssAfter = residentMb(child.pid);
  child.kill("SIGTERM");
  await child.exited;
  return { readyMs, firstRatio: first! / laterMs, laterMs, rssMb: rss, rssAfterMb: rssAfter };
}

/** Milliseconds from a prompt to its one token. */
async function ask(url: string, seed: number): Promise<number> {
  const prompt = Array.from({ length: PROMPT_TOKENS }, (_, i) => 1000 + ((i * 7919 + seed * 131) % 40_000));
  const startedMs = performance.now();
  const answer = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "smollm2-135m-instruct", prompt, max_tokens: 1 }),
  });
  if (!answer.ok) throw new Error(await answer.text());
  await answer.text();
  return performance.now() - startedMs;
}

function summary(values: number[], digits = 0): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(digits);
  return `median ${at(0.5)}, min ${at(0)}, max ${at(1)}`;
}

await start();
const starts: Start[] = [];
for (let i = 0; i < RUNS; i++) starts.push(await start());
console.log(`${RUNS} starts of dist/scalellm serve, bundled model (${(MODEL_BYTES / 1e6).toFixed(0)} MB)`);
console.log(`start to ready      ${summary(starts.map((s) => s.readyMs))} ms`);
console.log(`a prompt of ${PROMPT_TOKENS}     ${summary(starts.map((s) => s.laterMs))} ms`);
console.log(
  `the first of them   ${summary(
    starts.map((s) => s.firstRatio),
    2,
  )} times as long`,
);
console.log(`RSS when ready      ${summary(starts.map((s) => s.rssMb))} MB`);
console.log(`RSS after ${PROMPTS} of them ${summary(starts.map((s) => s.rssAfterMb))} MB`);
