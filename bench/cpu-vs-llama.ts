/**
 * Our CPU engine and llama.cpp on the same file and threads, interleaved in one run.
 *
 *   bun bench/cpu-vs-llama.ts [--model FILE.gguf] [--rounds 5] [--threads N] [--isa avx2] [--streams 1,4,16,64] [--json FILE]
 *
 * For every measurement, each round measures both sides one after the other, taking turns at being first, and the
 * machine's limits before, between and after parts of ours: on a shared machine they change by the second. Needs
 * `npm ci` in bench/peers (make bench-cpu does it).
 */
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { ISAS } from "../src/backend/abi.ts";
import { locateLibrary } from "../src/backend/library.ts";
import { type MachineLimits, measureLimits, probe } from "../src/backend/probe.ts";
import { describeRequest, type MeasurementRequest } from "./cpu/measurement.ts";
import { PeerSide } from "./cpu/peer-side.ts";
import { ScaleLlmSide, WARM_STEPS } from "./cpu/scalellm-side.ts";
import { type Round, type Summary, summariseRounds } from "./cpu/summarise-rounds.ts";
import { type Figure, formatFigure } from "./figure.ts";

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "models/SmolLM2-135M-Instruct.Q4_1.gguf" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "0" },
    isa: { type: "string", default: "auto" },
    streams: { type: "string", default: "1,4,16,64" },
    "decode-tokens": { type: "string", default: "64" },
    "prefill-tokens": { type: "string", default: "512" },
    json: { type: "string" },
  },
});

/** Context that every stream starts its decode with. */
const PROMPT_TOKENS = 32;

const isa = ISAS.find((name) => name === options.isa);
if (!isa) throw new Error(`--isa: ${options.isa} is none of ${ISAS.join(", ")}`);
const streams = options.streams.split(",").map(Number);
const decodeTokens = Number(options["decode-tokens"]);
const prefillTokens = Number(options["prefill-tokens"]);
const requests: MeasurementRequest[] = [
  ...streams.map((count) => ({
    kind: "decode" as const,
    streams: count,
    promptTokens: PROMPT_TOKENS,
    // A step of 64 streams takes as long as a dozen alone: fewer of them measure as well.
    tokens: Math.max(8, Math.ceil(decodeTokens / Math.sqrt(count))),
  })),
  { kind: "prefill", tokens: prefillTokens },
];

const libraryPath = await locateLibrary();
const machine = probe(libraryPath);
const threads = Number(options.threads) || machine.numCores;
const maxNumSeqs = Math.max(...streams);
const maxModelLen = Math.max(PROMPT_TOKENS + decodeTokens + WARM_STEPS, prefillTokens) + 1;
const { side: ours, model } = ScaleLlmSide.open({
  model: options.model,
  libraryPath,
  isa,
  numThreads: threads,
  maxNumSeqs,
  maxModelLen,
  maxBatchedTokens: prefillTokens,
});
const peer = await PeerSide.start(["node", `${import.meta.dir}/peers/llama-cpp.mjs`, options.model, String(threads)]);
process.stderr.write(`${machine.cpuName}, ${threads} threads, ${model.info.isa}; peer: ${peer.name}\n`);

if (loadavg()[0]! > 0.5) {
  process.stderr.write(`load average ${loadavg()[0]!.toFixed(1)}: engines that spin lose most on a busy machine\n`);
}

const work = new Map<MeasurementRequest, { bytes: number; ops: number }>();
const rounds = new Map<MeasurementRequest, Round[]>();
for (const request of requests) {
  // Warms both sides up, too.
  work.set(request, await ours.workOf(request));
  await peer.measure(request);
  rounds.set(request, []);
}
for (let round = 0; round < Number(options.rounds); round++) {
  for (const request of requests) {
    const limits: MachineLimits[] = [];
    const measureOurs = () => ours.measure(request, () => limits.push(measureLimits(libraryPath, isa, threads)));
    const measurePeer = () => peer.measure(request);
    if (round % 2 === 0) {
      rounds.get(request)!.push({ ours: await measureOurs(), peer: await measurePeer(), limits });
    } else {
      rounds.get(request)!.push({ peer: await measurePeer(), ours: await measureOurs(), limits });
    }
  }
  process.stderr.write(`round ${round + 1} of ${options.rounds}\n`);
}
await peer.close();
await ours.close();

const summaries = requests.map((request) => ({
  request,
  summary: summariseRounds(rounds.get(request)!, work.get(request)!),
}));
printTable(summaries);
if (options.json !== undefined) {
  const sides = { model: options.model, threads, cpu: machine.cpuName, isa: model.info.isa, peer: peer.name };
  const raw = requests.map((request) => ({ request, work: work.get(request), rounds: rounds.get(request) }));
  await Bun.write(options.json, `${JSON.stringify({ ...sides, summaries, raw }, undefined, 2)}\n`);
}
process.exit(0);

function printTable(rows: ReadonlyArray<{ request: MeasurementRequest; summary: Summary }>): void {
  const percent = (figure: Figure): string => `${(figure.median * 100).toFixed(0)}%`;
  const header = ["", "ours tok/s", "peer tok/s", "ratio", "CPU ms/tok ours, peer", "of read bw", "of int8 peak"];
  const cells = rows.map(({ request, summary }) => [
    describeRequest(request),
    formatFigure(summary.ours, 1),
    formatFigure(summary.peer, 1),
    formatFigure(summary.ratio, 2),
    `${summary.oursCpuMs.median.toFixed(2)}, ${summary.peerCpuMs.median.toFixed(2)}`,
    percent(summary.readShare),
    percent(summary.computeShare),
  ]);
  const widths = header.map((_, i) => Math.max(...[header, ...cells].map((row) => row[i]!.length)));
  for (const row of [header, ...cells])
    console.log(
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join("  ")
        .trimEnd(),
    );
}
