import { parseEndpoint } from "../bench/plan-bench.ts";
import { comparisonReport } from "../bench/report/comparison.ts";
import { htmlReport } from "../bench/report/html-report.ts";
import { terminalReport } from "../bench/report/terminal.ts";
import { pointsOf, type RunResults } from "../bench/results.ts";
import { decodeResults, encodeResults } from "../bench/results-file.ts";
import { type BenchPlan, runBench } from "../bench/run-bench.ts";
import { loadSettings } from "../config/load-settings.ts";
import type { Settings } from "../config/options.ts";
import { readApiKeys } from "../config/read-api-keys.ts";
import { systemClock } from "../core/clock.ts";
import { failureReason } from "../core/failure-reason.ts";
import { BENCH_FLAG_NAMES, type BenchFlags, benchFlagsHelp, splitBenchFlags } from "./bench-flags.ts";
import { draftPlan, headersOf, requireUniqueLabels, requireWritable } from "./bench-plan.ts";
import { benchProgress } from "./bench-progress.ts";
import { CliError, type Command } from "./command.ts";
import { startPrivateServer } from "./private-server.ts";
import { SETTINGS_LAYERS, settingsHelp } from "./settings-help.ts";

const HELP = `Usage: scalellm bench [LABEL=]URL[#MODEL]... [OPTIONS]
       scalellm bench [--model MODEL] [OPTIONS]
       scalellm bench --compare A.json B.json

Measures any OpenAI-compatible endpoint: latency and throughput against the load. Several endpoints take turns, so that
they meet the same machine; without a URL, a server with MODEL (or the bundled model) is started in this process.

  scalellm bench --html report.html
  scalellm bench http://127.0.0.1:8000 --concurrency 1,8,64 --output a.json
  scalellm bench ours=http://HOST:8000 theirs=http://HOST:9000#their-model --html report.html
  scalellm bench http://HOST:8000 --rate 1,2,4,8 --duration 60 --slo ttft=500,tpot=50

Ctrl-C ends a run early and keeps its results.

${benchFlagsHelp(["Load", "Requests", "Measuring", "Output"])}

Server in this process, and --api-key for any
${settingsHelp(["Model", "Engine"])}

${SETTINGS_LAYERS}
`;

export const benchCommand: Command = {
  async run(argv) {
    if (argv.includes("--help") || argv.includes("-h")) {
      process.stdout.write(HELP);
      return 0;
    }
    const flags = splitBenchFlags(argv);
    const loaded = loadSettings(flags.rest, undefined, BENCH_FLAG_NAMES);
    const { positionals } = loaded;
    if (flags.has("chrome-trace")) throw new CliError("--chrome-trace is an option of scalellm profile", 2);
    if (flags.has("compare")) return compare(positionals);
    return measure(flags, { ...loaded.settings, apiKey: readApiKeys(loaded) }, positionals);
  },
};

async function compare(files: readonly string[]): Promise<number> {
  const [a, b, ...more] = files;
  if (a === undefined || b === undefined || more.length > 0) throw new CliError("--compare takes two files", 2);
  process.stdout.write(comparisonReport(await readResults(a), await readResults(b)));
  return 0;
}

async function readResults(path: string): Promise<RunResults> {
  const text = await Bun.file(path)
    .text()
    .catch((error: unknown) => {
      throw new CliError(`${path}: ${failureReason(error)}`, 2);
    });
  return decodeResults(text, path);
}

async function measure(flags: BenchFlags, settings: Settings, urls: readonly string[]): Promise<number> {
  const draft = await draftPlan(flags);
  const asked = settings.servedModelName || settings.model || undefined;
  const endpoints = urls.map((url) => {
    const endpoint = parseEndpoint(url);
    return { ...endpoint, model: endpoint.model ?? asked };
  });
  requireUniqueLabels(endpoints);
  const rounds = Number(flags.value("rounds") ?? (endpoints.length > 1 ? 2 : 1));
  if (!Number.isInteger(rounds) || rounds < 1) throw new CliError("--rounds: expected a whole number from 1", 2);
  for (const name of ["output", "html"] as const) requireWritable(`--${name}`, flags.value(name));
  const abort = new AbortController();
  process.on("SIGINT", () => {
    // The second one means it: no results.
    if (abort.signal.aborted) process.exit(130);
    process.stderr.write("\nstopping; the results so far are kept (Ctrl-C again to drop them)\n");
    abort.abort();
  });
  const server = endpoints.length === 0 ? await startPrivateServer(settings) : undefined;
  try {
    const plan: BenchPlan = {
      ...draft,
      endpoints: server === undefined ? endpoints : [server.endpoint],
      headers: headersOf(flags, server?.apiKey ?? settings.apiKey[0]),
      inProcess: server !== undefined,
      rounds,
    };
    const results = await runBench(plan, benchProgress(process.stderr), systemClock, abort.signal);
    await report(flags, results);
    return exitCode(results, abort.signal.aborted);
  } finally {
    await server?.stop();
  }
}

async function report(flags: BenchFlags, results: RunResults): Promise<void> {
  const points = pointsOf(results);
  process.stdout.write(`\n${terminalReport(results, points, flags.has("details"))}`);
  const output = flags.value("output");
  if (output !== undefined) {
    await Bun.write(output, ""); // a writer leaves the end of a longer file as it was
    const writer = Bun.file(output).writer();
    for (const line of encodeResults(results)) writer.write(line);
    await writer.end();
  }
  const html = flags.value("html");
  if (html !== undefined) await Bun.write(html, htmlReport(results, points));
  for (const path of [output, html]) if (path !== undefined) process.stderr.write(`wrote ${path}\n`);
}

/** 1 when nothing could be measured, 130 after Ctrl-C, as shells expect. */
function exitCode(results: RunResults, interrupted: boolean): number {
  if (interrupted) return 130;
  return results.records.some((record) => record.error === undefined) ? 0 : 1;
}
