/**
 * What timing a server's stages costs: a server in this process answers a closed loop with timing off and on in turns, and
 * the CPU time and the TPOT of neighbouring turns are compared. `make bench-tracing`. Off, the server runs its own methods
 * (test/cli/stage-recorder.test.ts), so there is nothing to measure.
 */
import { parseArgs } from "node:util";
import { count } from "../src/bench/plan-bench.ts";
import { textTable } from "../src/bench/report/text-table.ts";
import { type BenchPlan, runBench } from "../src/bench/run-bench.ts";
import { mean, quantileOfSorted, sortedCopy } from "../src/bench/stats/distribution.ts";
import { makeRng } from "../src/bench/stats/rng.ts";
import { summarize } from "../src/bench/stats/summary.ts";
import { describeLoad } from "../src/bench/types.ts";
import { syntheticWorkload } from "../src/bench/workload/synthetic.ts";
import { startPrivateServer } from "../src/cli/private-server.ts";
import { StageRecorder } from "../src/cli/stage-recorder.ts";
import type { ServerParts } from "../src/cli/start-server.ts";
import { loadSettings } from "../src/config/load-settings.ts";
import { systemClock } from "../src/core/clock.ts";
import { figureOf } from "./figure.ts";

const { values } = parseArgs({
  options: {
    concurrency: { type: "string", default: "4" },
    requests: { type: "string", default: "4" },
    pairs: { type: "string", default: "160" },
  },
});
const concurrency = count("--concurrency", values.concurrency);
const requests = count("--requests", values.requests);
const pairs = count("--pairs", values.pairs);
const LIMIT = 0.02;
/** The first two pairs compile the code of both. */
const WARMUP_PAIRS = 2;

let parts: ServerParts | undefined;
// One thread computes: where two do, CPU time holds what one of them spins for the other, which hangs on the neighbours.
const server = await startPrivateServer(loadSettings(["--threads", "1"]).settings, {
  onParts: (loaded) => {
    parts = loaded;
  },
});
const recorder = new StageRecorder(parts!, systemClock);
/** Off, on, on, off: a drift of the machine hits both alike. */
const isTimed = (round: number): boolean => (round % 4) % 3 !== 0;

interface Turn {
  cpuUsPerToken: number;
  tpotMs: number;
}
const turns: Turn[] = [];
let cpu = process.cpuUsage();
let firstRecord = 0;
const load = { kind: "closed", concurrency } as const;
const rounds = 2 * (pairs + WARMUP_PAIRS);
const plan: BenchPlan = {
  endpoints: [server.endpoint],
  api: "chat",
  headers: { authorization: `Bearer ${server.apiKey}` },
  cells: [{ index: 0, load, ...describeLoad(load) }],
  workload: syntheticWorkload({
    input: { kind: "fixed", tokens: 32 },
    output: { kind: "fixed", tokens: 32 },
    sharedPrefixTokens: 0,
    prefixGroups: 1,
    turns: 1,
    seed: 1,
  }),
  sessionsOf: () => requests * rounds,
  durationMs: Number.POSITIVE_INFINITY,
  warmup: 3,
  rounds,
  timeoutMs: 60_000,
  slo: undefined,
  seed: 1,
  exactLength: true,
  inProcess: true,
  client: "",
  startedAt: "",
};
await runBench(
  plan,
  {
    onPrepare() {},
    onProgress() {},
    async onSliceStart(_cell, _endpoint, round) {
      await recorder.enable(isTimed(round) ? concurrency : 0);
      cpu = process.cpuUsage();
    },
    onSliceEnd(_cell, _endpoint, { records }) {
      const { user, system } = process.cpuUsage(cpu);
      const own = records.slice(firstRecord);
      firstRecord = records.length;
      const tokens = own.reduce((sum, record) => sum + record.outputTokens, 0);
      const tpotMs = summarize(own, 1, undefined).tpotMs?.mean ?? Number.NaN;
      turns.push({ cpuUsPerToken: (user + system) / tokens, tpotMs });
    },
  },
  systemClock,
  new AbortController().signal,
);
await recorder.enable(0);
await server.stop();

/** Of the middle half: what else runs here disturbs single turns, and that is not to count. */
const middleMean = (sample: readonly number[]): number => {
  const sorted = sortedCopy(sample);
  const cut = Math.floor(sorted.length / 4);
  return mean(sorted.subarray(cut, sorted.length - cut));
};
const kept = turns.slice(2 * WARMUP_PAIRS);
const rng = makeRng(1);
const RESAMPLES = 2000;
let cost = 0;
const rows = (["cpuUsPerToken", "tpotMs"] as const).map((key) => {
  const ratios: number[] = [];
  for (let i = 0; i + 1 < kept.length; i += 2) {
    const [a, b] = [kept[i]!, kept[i + 1]!];
    const [off, on] = isTimed(i) ? [b, a] : [a, b];
    ratios.push(on[key] / off[key]);
  }
  const redraw = (): number => middleMean(ratios.map(() => ratios[rng.integer(ratios.length)]!));
  const resampled = sortedCopy(Array.from({ length: RESAMPLES }, redraw));
  const at = (q: number): string => quantileOfSorted(resampled, q).toFixed(4);
  const ratio = middleMean(ratios);
  if (key === "cpuUsPerToken") cost = ratio - 1;
  const side = (timed: boolean): string =>
    figureOf(kept.filter((_, i) => isTimed(i) === timed).map((turn) => turn[key])).median.toFixed(2);
  const name = key === "tpotMs" ? "TPOT, ms" : "CPU a token, us";
  return [name, side(false), side(true), ratio.toFixed(4), `${at(0.025)} .. ${at(0.975)}`];
});
console.log(
  `${pairs} pairs of ${requests} requests at concurrency ${concurrency}; CPU of the whole process; medians, and the mean of ` +
    "the middle half of the ratios",
);
console.log(textTable(["", "off", "on", "on / off", "95%"], rows));
console.log(`timing costs ${(cost * 100).toFixed(2)}% of CPU time; at most ${LIMIT * 100}% are allowed`);
process.exit(cost <= LIMIT ? 0 : 1);
