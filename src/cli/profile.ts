import { measureLimits, probe } from "../backend/probe.ts";
import { type Breakdown, breakdownOf } from "../bench/profile/breakdown.ts";
import { chromeTrace, clientSpans } from "../bench/profile/chrome-trace.ts";
import { type DeviceLimits, profileReport, type TracingCost } from "../bench/profile/profile-report.ts";
import { differenceOf, type StageSnapshot, type TraceSpan } from "../bench/profile/stage-source.ts";
import type { RunResults } from "../bench/results.ts";
import { type BenchObserver, type BenchPlan, runBench } from "../bench/run-bench.ts";
import { summarize } from "../bench/stats/summary.ts";
import type { Cell, RequestRecord } from "../bench/types.ts";
import { loadSettings } from "../config/load-settings.ts";
import type { Settings } from "../config/options.ts";
import { systemClock } from "../core/clock.ts";
import { BENCH_FLAG_NAMES, benchFlagsHelp, splitBenchFlags } from "./bench-flags.ts";
import { draftPlan, headersOf, requireWritable } from "./bench-plan.ts";
import { benchProgress } from "./bench-progress.ts";
import { CliError, type Command } from "./command.ts";
import { startPrivateServer } from "./private-server.ts";
import { SETTINGS_LAYERS, settingsHelp } from "./settings-help.ts";
import { StageRecorder } from "./stage-recorder.ts";
import type { ServerParts } from "./start-server.ts";

const HELP = `Usage: scalellm profile [MODEL] [OPTIONS]

Runs a load on a server in this process and tells where the time of a request goes, stage by stage, as share of the time
to the first token and of the time between tokens, ranked by what would pay most if it were free. Each load runs twice,
without timing and with it, so that the cost of timing is known. Loads are closed loops: --concurrency.

  scalellm profile
  scalellm profile ./model.gguf --concurrency 1,16,64 --chrome-trace trace.json

${benchFlagsHelp(["Load", "Requests", "Profile"])}

Server in this process
${settingsHelp(["Model", "Engine"])}

${SETTINGS_LAYERS}
`;

/** A low, a middle and a high load: where stages trade places. */
const DEFAULT_CONCURRENCY = "1,8,32";
const DEFAULT_OUTPUT_TOKENS = "64";
/** Round 0 runs without timing, round 1 with it. */
const ROUNDS = 2;

export const profileCommand: Command = {
  async run(argv) {
    if (argv.includes("--help") || argv.includes("-h")) {
      process.stdout.write(HELP);
      return 0;
    }
    const given = splitBenchFlags(argv);
    const { settings, positionals } = loadSettings(given.rest, undefined, BENCH_FLAG_NAMES);
    if (positionals.length > 1) throw new CliError(`expected one model, got ${positionals.join(" ")}`, 2);
    // Decode steps are told from others by every stream of the load decoding: an open loop has no such number.
    for (const name of ["rate", "ramp", "trace"] as const)
      if (given.has(name)) throw new CliError(`--${name}: a profile needs a closed loop; use --concurrency`, 2);
    const flags = splitBenchFlags([
      ...argv,
      ...(given.has("concurrency") ? [] : ["--concurrency", DEFAULT_CONCURRENCY]),
      ...(given.has("output-tokens") ? [] : ["--output-tokens", DEFAULT_OUTPUT_TOKENS]),
    ]);
    return profile(flags, { ...settings, model: positionals[0] ?? settings.model });
  },
};

async function profile(flags: ReturnType<typeof splitBenchFlags>, settings: Settings): Promise<number> {
  const draft = await draftPlan(flags);
  requireWritable("--chrome-trace", flags.value("chrome-trace"));
  const abort = new AbortController();
  process.once("SIGINT", () => abort.abort());
  let parts: ServerParts | undefined;
  const server = await startPrivateServer(settings, {
    onParts: (loaded) => {
      parts = loaded;
    },
  });
  try {
    const session = new ProfileSession(
      new StageRecorder(parts!, systemClock),
      sharedCores(parts!),
      benchProgress(process.stderr),
    );
    const plan: BenchPlan = {
      ...draft,
      endpoints: [server.endpoint],
      headers: headersOf(flags, server.apiKey),
      inProcess: true,
      rounds: ROUNDS,
      // Each round gets what a benchmark's load has in all.
      sessionsOf: (cell) => draft.sessionsOf(cell) * ROUNDS,
    };
    await runBench(plan, session.observer(), systemClock, abort.signal);
    const limits = limitsOf(parts!, settings);
    process.stdout.write(`\n${profileReport(session.breakdowns, limits, session.costs)}`);
    const path = flags.value("chrome-trace");
    if (path !== undefined) {
      await Bun.write(path, chromeTrace(session.spans));
      process.stderr.write(`wrote ${path}\n`);
    }
    return session.breakdowns.length > 0 ? 0 : 1;
  } finally {
    await server.stop();
  }
}

/** Cores the engine computes on, where that leaves none for the rest of the server. */
function sharedCores({ replica, libraryPath }: ServerParts): number | undefined {
  const { name, numThreads } = replica.engine.info;
  return name === "cpu" && numThreads >= probe(libraryPath).numCores ? numThreads : undefined;
}

/** Measured after the load, so that it does not disturb it. The CPU library measures the CPU; others have no measure yet. */
function limitsOf(parts: ServerParts, settings: Settings): DeviceLimits | undefined {
  if (parts.replica.engine.info.name !== "cpu") return undefined;
  const { readBytesPerS, int8MacsPerS } = measureLimits(parts.libraryPath, settings.isa, settings.threads);
  return { readBytesPerS, macsPerS: int8MacsPerS };
}

/** Turns timing on for every second slice and keeps what it showed. */
class ProfileSession {
  readonly breakdowns: Breakdown[] = [];
  readonly costs: TracingCost[] = [];
  readonly spans: TraceSpan[] = [];
  readonly #recorder: StageRecorder;
  readonly #sharedCores: number | undefined;
  readonly #progress: BenchObserver;
  #before: StageSnapshot | undefined;
  #firstRecord = 0;
  #untimedTpotMs: number | undefined;

  constructor(recorder: StageRecorder, sharedCores: number | undefined, progress: BenchObserver) {
    this.#recorder = recorder;
    this.#sharedCores = sharedCores;
    this.#progress = progress;
  }

  observer(): BenchObserver {
    return {
      ...this.#progress,
      onSliceStart: async ({ load }, _endpoint, round) => {
        await this.#recorder.enable(round === 1 && load.kind === "closed" ? load.concurrency : 0);
        this.#before = round === 1 ? await this.#recorder.snapshot() : undefined;
      },
      onSliceEnd: (cell, endpoint, results) => this.#sliceEnded(cell, endpoint, results),
    };
  }

  async #sliceEnded(cell: Cell, endpoint: string, results: RunResults): Promise<void> {
    const records = results.records.slice(this.#firstRecord);
    this.#firstRecord = results.records.length;
    const figures = summarize(records, results.slices.at(-1)!.elapsedMs, undefined);
    if (this.#before === undefined) this.#untimedTpotMs = figures.tpotMs?.mean;
    else {
      const delta = differenceOf(this.#before, await this.#recorder.snapshot());
      await this.#recorder.enable(0);
      this.#keep(cell, results, records, delta);
      const timedTpotMs = figures.tpotMs?.mean;
      if (timedTpotMs !== undefined && this.#untimedTpotMs !== undefined)
        this.costs.push({ label: cell.label, ratio: timedTpotMs / this.#untimedTpotMs });
      this.spans.push(...this.#recorder.takeSpans(), ...clientSpans(cell.label, records));
    }
    await this.#progress.onSliceEnd(cell, endpoint, results);
  }

  #keep(cell: Cell, results: RunResults, records: RequestRecord[], delta: StageSnapshot): void {
    const figures = summarize(records, 1, undefined);
    const point = { endpoint: results.info.endpoints[0]!, cell, records, figures };
    const breakdown = breakdownOf(point, delta, this.#sharedCores);
    if (breakdown !== undefined) this.breakdowns.push(breakdown);
    else process.stderr.write(`\n${cell.label}: not every request finished; its stages can't be told\n`);
  }
}
