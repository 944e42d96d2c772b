// llama.cpp as a benchmark worker: one JSON request a line on standard input, one JSON answer a line on standard output.
//   node llama-cpp.mjs MODEL.gguf THREADS
//   {"kind": "decode", "streams": 4, "promptTokens": 32, "tokens": 64}   -> tokens/s over all streams
//   {"kind": "prefill", "tokens": 512}                                   -> tokens/s of one prompt
// Speaks to llama.cpp through node-llama-cpp's bindings and does what llama-batched-bench does: one llama_decode a step,
// logits of every stream's token computed, nothing sampled (next tokens are given), so that no JavaScript is measured.
import { createInterface } from "node:readline";
import { getLlama } from "node-llama-cpp";

/** Tokens of context a stream; prompt and output of every measurement fit. */
const CONTEXT_TOKENS = 640;
const BATCH_TOKENS = 512;

const [modelPath, threadsText] = process.argv.slice(2);
const threads = Number(threadsText);
if (modelPath === undefined || !Number.isInteger(threads) || threads < 1) {
  console.error("usage: node llama-cpp.mjs MODEL.gguf THREADS");
  process.exit(2);
}

// "never": only the prebuilt binaries of the npm package; it neither compiles nor downloads.
const llama = await getLlama({ build: "never", gpu: false, maxThreads: threads, logLevel: "error" });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const contexts = new Map();

/** A context for this many streams, made once. */
async function contextFor(streams) {
  let context = contexts.get(streams);
  if (context === undefined) {
    const options = { sequences: streams, contextSize: CONTEXT_TOKENS, batchSize: BATCH_TOKENS, threads };
    context = (await model.createContext(options))._ctx;
    context.setThreads(threads);
    contexts.set(streams, context);
  }
  return context;
}

/** Ids that look like text: spread over the vocabulary, without the control tokens at its start. */
const tokenAt = (position) => 1000 + ((position * 7919) % 40_000);
const tokensFrom = (start, count) => Uint32Array.from({ length: count }, (_, i) => tokenAt(start + i));

/** Feeds `count` tokens from position `start` to one sequence; logits of the last. */
async function prefill(context, sequence, start, count) {
  context.initBatch(count);
  context.addToBatch(sequence, start, tokensFrom(start + sequence, count), Uint32Array.of(count - 1));
  await context.decodeBatch();
}

async function measureDecode({ streams, promptTokens, tokens }) {
  const context = await contextFor(streams);
  for (let sequence = 0; sequence < streams; sequence++) {
    context.disposeSequence(sequence);
    await prefill(context, sequence, 0, promptTokens);
  }
  const first = Uint32Array.of(0);
  return timed(streams * tokens, async () => {
    for (let step = 0; step < tokens; step++) {
      context.initBatch(streams);
      for (let sequence = 0; sequence < streams; sequence++) {
        const position = promptTokens + step;
        context.addToBatch(sequence, position, Uint32Array.of(tokenAt(position + sequence)), first);
      }
      await context.decodeBatch();
    }
  });
}

async function measurePrefill({ tokens }) {
  const context = await contextFor(1);
  context.disposeSequence(0);
  return timed(tokens, async () => {
    for (let start = 0; start < tokens; start += BATCH_TOKENS) {
      await prefill(context, 0, start, Math.min(BATCH_TOKENS, tokens - start));
    }
  });
}

async function timed(tokens, run) {
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  await run();
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { tokens, seconds, cpuSeconds: (user + system) / 1e6, tokensPerS: tokens / seconds };
}

const MEASUREMENTS = { decode: measureDecode, prefill: measurePrefill };

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const release = llama.llamaCppRelease;
answer({ ready: true, engine: `llama.cpp ${release.release}`, threads });
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  try {
    const request = JSON.parse(line);
    const measure = MEASUREMENTS[request.kind];
    if (measure === undefined) throw new Error(`unknown kind ${request.kind}`);
    answer(await measure(request));
  } catch (error) {
    answer({ error: error instanceof Error ? error.message : String(error) });
  }
}
process.exit(0);
