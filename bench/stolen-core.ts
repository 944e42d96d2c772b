/**
 * What our CPU engine keeps of its speed when another process takes one of the cores: `make bench-stolen-core`. The bundled
 * model on all cores. Each round measures every load with a spinning process beside it and without one, taking turns at
 * being first. Target on two cores: at least 45% kept.
 */
import { parseArgs } from "node:util";
import { locateLibrary } from "../src/backend/library.ts";
import { probe } from "../src/backend/probe.ts";
import { describeRequest, type MeasurementRequest } from "./cpu/measurement.ts";
import { ScaleLlmSide } from "./cpu/scalellm-side.ts";
import { figureOf, formatFigure } from "./figure.ts";

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
  },
});
const PROMPT_TOKENS = 32;
const PREFILL_TOKENS = 512;
const MOST_STREAMS = 64;
/** Long enough for the engine to notice and to try a core again. */
const requests: MeasurementRequest[] = [
  { kind: "decode", streams: 1, promptTokens: PROMPT_TOKENS, tokens: 400 },
  { kind: "decode", streams: MOST_STREAMS, promptTokens: PROMPT_TOKENS, tokens: 40 },
  { kind: "prefill", tokens: 8 * PREFILL_TOKENS },
];

const libraryPath = await locateLibrary();
const numThreads = probe(libraryPath).numCores;
const { side } = ScaleLlmSide.open({
  model: "models/SmolLM2-135M-Instruct.Q4_1.gguf",
  libraryPath,
  isa: "auto",
  numThreads,
  maxNumSeqs: MOST_STREAMS,
  maxModelLen: 8 * PREFILL_TOKENS + 1,
  maxBatchedTokens: PREFILL_TOKENS,
});
const speed = async (request: MeasurementRequest): Promise<number> => (await side.measure(request)).tokensPerS;

/** Speed beside a process that never rests. */
async function besideSpinner(request: MeasurementRequest): Promise<number> {
  const spinner = Bun.spawn(["sh", "-c", "while :; do :; done"], { stdio: ["ignore", "ignore", "ignore"] });
  try {
    return await speed(request);
  } finally {
    spinner.kill("SIGKILL");
    await spinner.exited;
  }
}

const kept = new Map(requests.map((request) => [request, [] as number[]]));
for (let round = -1; round < Number(flags.rounds); round++) {
  for (const request of requests) {
    const spunFirst = round % 2 === 0;
    const before = spunFirst ? await besideSpinner(request) : 0;
    const alone = await speed(request);
    const beside = spunFirst ? before : await besideSpinner(request);
    if (round >= 0) kept.get(request)!.push((100 * beside) / alone);
  }
}
console.log(`${numThreads} threads, one core taken by another process: % of the speed kept, median (least-most)`);
for (const [request, values] of kept)
  console.log(`${describeRequest(request).padEnd(20)} ${formatFigure(figureOf(values), 0)}`);
process.exit(0);
