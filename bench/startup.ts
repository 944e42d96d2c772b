// How long `scalellm serve` takes from its start until /ready answers 200, and the memory it holds then and after a
// request: `make bench-startup`. The file is in the page cache after the first, uncounted start.
import { residentMb, startScaleLlm } from "./server-process.ts";

const RUNS = Number(Bun.argv[2] ?? 7);
const MODEL_BYTES = Bun.file("models/SmolLM2-135M-Instruct.Q4_1.gguf").size;

interface Start {
  readyMs: number;
  rssMb: number;
  rssAfterMb: number;
}

async function start(): Promise<Start> {
  const startedMs = performance.now();
  const { url, child } = await startScaleLlm(["--kv-cache-memory", "64MiB"]);
  const readyMs = performance.now() - startedMs;
  const rss = residentMb(child.pid);
  const answer = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "smollm2-135m-instruct", prompt: "Once upon a time", max_tokens: 64 }),
  });
  await answer.text();
  const rssAfter = residentMb(child.pid);
  child.kill("SIGTERM");
  await child.exited;
  return { readyMs, rssMb: rss, rssAfterMb: rssAfter };
}

function summary(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(0);
  return `median ${at(0.5)}, min ${at(0)}, max ${at(1)}`;
}

await start();
const starts: Start[] = [];
for (let i = 0; i < RUNS; i++) starts.push(await start());
console.log(
  `${RUNS} starts of dist/scalellm serve, bundled model (${(MODEL_BYTES / 1e6).toFixed(0)} MB), KV cache 64 MiB`,
);
console.log(`start to ready      ${summary(starts.map((s) => s.readyMs))} ms`);
console.log(`RSS when ready      ${summary(starts.map((s) => s.rssMb))} MB`);
console.log(`RSS after a request ${summary(starts.map((s) => s.rssAfterMb))} MB`);
