/**
 * Our CPU engine and its peers on the same file and threads, interleaved in one run.
 *
 *   bun bench/cpu-vs-peers.ts [--model FILE.gguf] [--peers llama.cpp,openvino] [--rounds 5] [--threads N] [--isa avx2]
 *     [--streams 1,4,16,64] [--decode-tokens 64] [--prefill-tokens 512] [--json FILE] [--markdown FILE]
 *
 * For every measurement, each round measures all sides one after the other, taking turns at being first, and the
 * machine's limits before, between and after parts of ours: on a shared machine they change by the second. Peers that
 * are not installed are left out, with a word (make bench-cpu installs them).
 */
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { ISAS } from "../src/backend/abi.ts";
import { locateLibrary } from "../src/backend/library.ts";
import { type MachineLimits, measureLimits, probe } from "../src/backend/probe.ts";
import { describeRequest, type Measurement, type MeasurementRequest } from "./cpu/measurement.ts";
import { PEERS, startPeers } from "./cpu/peers.ts";
import { ScaleLlmSide, WARM_STEPS } from "./cpu/scalellm-side.ts";
import { type Round, type Summary, summariseRounds } from "./cpu/summarise-rounds.ts";
import { type Figure, formatFigure } from "./figure.ts";

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "models/SmolLM2-135M-Instruct.Q4_1.gguf" },
    peers: { type: "string", default: Object.keys(PEERS).join(",") },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "0" },
    isa: { type: "string", default: "auto" },
    streams: { type: "string", default: "1,4,16,64" },
    "decode-tokens": { type: "string", default: "64" },
    "prefill-tokens": { type: "string", default: "512" },
    json: { type: "string" },
    markdown: { type: "string" },
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

const say = (message: string): void => void process.stderr.write(`${message}\n`);
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
const peers = await startPeers(options.peers.split(",").filter(Boolean), options.model, threads, say);
const names = peers.map(({ name }) => name);
say(`${machine.cpuName}, ${threads} threads, ${model.info.isa}; peers: ${names.join(", ") || "none"}`);
if (loadavg()[0]! > 0.5) {
  say(`load average ${loadavg()[0]!.toFixed(1)}: engines that spin lose most on a busy machine`);
}

const work = new Map<MeasurementRequest, { bytes: number; ops: number }>();
const rounds = new Map<MeasurementRequest, Round[]>();
for (const request of requests) {
  // Warms all sides up, too.
  work.set(request, await ours.workOf(request));
  for (const peer of peers) await peer.measure(request);
  rounds.set(request, []);
}
for (let round = 0; round < Number(options.rounds); round++) {
  for (const request of requests) rounds.get(request)!.push(await measureRound(request, round));
  say(`round ${round + 1} of ${options.rounds}`);
}
for (const side of [...peers, ours]) await side.close();

const summaries = requests.map((request) => ({
  request,
  summary: summariseRounds(rounds.get(request)!, work.get(request)!),
}));
printTable(summaries);
if (options.markdown !== undefined) await Bun.write(options.markdown, markdown(summaries));
if (options.json !== undefined) {
  const sides = { model: options.model, threads, cpu: machine.cpuName, isa: model.info.isa, peers: names };
  const raw = requests.map((request) => ({ request, work: work.get(request), rounds: rounds.get(request) }));
  await Bun.write(options.json, `${JSON.stringify({ ...sides, summaries, raw }, undefined, 2)}\n`);
}
process.exit(0);

type Row = { readonly request: MeasurementRequest; readonly summary: Summary };

async function measureRound(request: MeasurementRequest, round: number): Promise<Round> {
  const limits: MachineLimits[] = [];
  const measureOurs = () => ours.measure(request, () => limits.push(measureLimits(libraryPath, isa, threads)));
  const sides = [measureOurs, ...peers.map((peer) => () => peer.measure(request))];
  const results = new Array<Measurement>(sides.length);
  for (let i = 0; i < sides.length; i++) {
    const at = (i + round) % sides.length;
    results[at] = await sides[at]!();
  }
  const [our, ...others] = results;
  return { ours: our!, peers: others, limits };
}

function printTable(rows: readonly Row[]): void {
  const percent = (figure: Figure): string => `${(figure.median * 100).toFixed(0)}%`;
  const header = ["", "ours tok/s", ...names.flatMap((name) => [`${name} tok/s`, "ratio"])];
  header.push("CPU ms/tok ours, peers", "of read bw", "of int8 peak");
  const cells = rows.map(({ request, summary }) => [
    describeRequest(request),
    formatFigure(summary.ours, 1),
    ...summary.peers.flatMap(({ tokensPerS, ratio }) => [formatFigure(tokensPerS, 1), formatFigure(ratio, 2)]),
    [summary.oursCpuMs, ...summary.peers.map(({ cpuMs }) => cpuMs)].map(({ median }) => median.toFixed(2)).join(", "),
    percent(summary.readShare),
    percent(summary.computeShare),
  ]);
  const widths = header.map((_, i) => Math.max(...[header, ...cells].map((row) => row[i]!.length)));
  for (const row of [header, ...cells]) {
    const line = row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ");
    console.log(line.trimEnd());
  }
}

/** Each measurement beside its strongest peer, as README has it. */
function markdown(rows: readonly Row[]): string {
  const lines = rows.map(({ request, summary }) => {
    const { strongest } = summary;
    const peer = summary.peers[strongest];
    const beside = peer
      ? [`${peer.tokensPerS.median.toFixed(1)} (${names[strongest]})`, formatFigure(peer.ratio, 2)]
      : ["", ""];
    return `| ${[describeRequest(request), summary.ours.median.toFixed(1), ...beside].join(" | ")} |`;
  });
  return `${["| | ScaleLLM | strongest peer | ratio (least-most) |", "| --- | --- | --- | --- |", ...lines].join("\n")}\n`;
}
