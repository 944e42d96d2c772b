import { parseArgs } from "node:util";
import { CliError } from "./command.ts";

interface Flag {
  /** What a value looks like; absent for switches. */
  hint?: string;
  help: string;
  multiple?: true;
}

/** The options of `bench` and `profile` beside the settings of a server, by section of the help. */
export const BENCH_FLAGS = {
  Load: {
    concurrency: { hint: "N,N,...", help: "closed loop: so many requests at a time (default 1,2,4,8,16,32,64)" },
    rate: { hint: "R,R,...", help: "open loop: requests a second, whatever the server does" },
    arrivals: { hint: "KIND", help: "of --rate: poisson (default) or constant" },
    ramp: { hint: "FROM-TO", help: "open loop: the rate rises from one to the other over --duration" },
    trace: {
      hint: "FILE",
      help: "open loop: arrival times and lengths of a Mooncake (JSON lines) or Azure (CSV) trace",
    },
    speed: { hint: "X", help: "play the trace so many times faster (default 1)" },
    requests: { hint: "N", help: "requests of each load and endpoint (default: 3 x concurrency, at least 16)" },
    duration: { hint: "S", help: "seconds of each load and endpoint (default of an open loop: 30)" },
  },
  Requests: {
    api: { hint: "KIND", help: "chat (default) or completions" },
    "input-tokens": {
      hint: "LENGTH",
      help: "prompt: 128, uniform:64-256 or lognormal:MEDIAN,SIGMA[,MAX] (default 128)",
    },
    "output-tokens": { hint: "LENGTH", help: "output, in the same way (default 128)" },
    dataset: { hint: "FILE", help: "prompts and reply lengths of a ShareGPT-style JSON file" },
    "shared-prefix": { hint: "N", help: "prompt tokens that requests have in common, before --input-tokens" },
    "prefix-groups": { hint: "N", help: "number of different shared prefixes (default 1)" },
    turns: { hint: "N", help: "turns of each conversation, each with the replies before it (default 1)" },
    "no-ignore-eos": { help: "let the model end its output; lengths then differ" },
    header: { hint: "NAME:VALUE", help: "a header of every request; may be given several times", multiple: true },
    timeout: { hint: "S", help: "give a request up after so many seconds (default 60)" },
    seed: { hint: "N", help: "of prompts, lengths and arrivals (default 1)" },
  },
  Measuring: {
    warmup: { hint: "N", help: "requests before the first load that are not counted (default 3)" },
    rounds: { hint: "N", help: "turns that endpoints take at each load (default 1, or 2 with several endpoints)" },
    slo: { hint: "LIMITS", help: "goodput: ttft=500,tpot=50,e2e=5000, each in ms and optional" },
  },
  Output: {
    output: { hint: "FILE", help: "every request as JSON lines; --compare reads it" },
    html: { hint: "FILE", help: "one self-contained page with charts" },
    details: { help: "print every figure and how it is defined" },
    compare: { help: "compare two files of --output, with confidence intervals: --compare A.json B.json" },
  },
  Profile: {
    "chrome-trace": { hint: "FILE", help: "what each request did, for ui.perfetto.dev or chrome://tracing" },
  },
} as const satisfies Record<string, Record<string, Flag>>;

type Sections = typeof BENCH_FLAGS;
export type BenchFlagName = { [S in keyof Sections]: keyof Sections[S] }[keyof Sections];

export interface BenchFlags {
  value(name: BenchFlagName): string | undefined;
  values(name: BenchFlagName): readonly string[];
  has(name: BenchFlagName): boolean;
  /** What is not an option of bench: settings of a server and positionals. */
  rest: readonly string[];
}

const ALL = new Map<string, Flag>(Object.values(BENCH_FLAGS).flatMap((section) => Object.entries<Flag>(section)));

export const BENCH_FLAG_NAMES: readonly string[] = [...ALL.keys()];

/** Takes the flags of bench out of argv; Throws CliError. */
export function splitBenchFlags(argv: readonly string[]): BenchFlags {
  const own: string[] = [];
  const rest: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    const name = /^--([^=]+)/.exec(arg)?.[1];
    const flag = name === undefined ? undefined : ALL.get(name);
    if (flag === undefined) rest.push(arg);
    else if (flag.hint === undefined || arg.includes("=")) own.push(arg);
    else if (argv[i + 1] === undefined) throw new CliError(`--${name} needs a value`, 2);
    // Joined, so that a value that begins with a dash stays one.
    else own.push(`${arg}=${argv[++i]!}`);
  }
  const options = Object.fromEntries(
    [...ALL].map(([name, flag]) => [
      name,
      { type: flag.hint === undefined ? ("boolean" as const) : ("string" as const), multiple: true as const },
    ]),
  );
  let values: Record<string, (string | boolean)[] | undefined>;
  try {
    values = parseArgs({ args: own, options, strict: true }).values;
  } catch (error) {
    throw new CliError(error instanceof Error ? error.message : String(error), 2);
  }
  const texts = (name: BenchFlagName): string[] => (values[name] ?? []).map(String);
  for (const [name, flag] of ALL)
    if (flag.multiple === undefined && (values[name]?.length ?? 0) > 1)
      throw new CliError(`--${name} is given twice`, 2);
  return { value: (name) => texts(name)[0], values: texts, has: (name) => values[name] !== undefined, rest };
}

/** The sections as --help shows them. */
export function benchFlagsHelp(sections: ReadonlyArray<keyof Sections>): string {
  return sections
    .map((section) => {
      const lines = Object.entries<Flag>(BENCH_FLAGS[section]).map(([name, { hint, help }]) => {
        const flag = hint === undefined ? `--${name}` : `--${name} ${hint}`;
        return `  ${flag.padEnd(31)} ${help}`;
      });
      return [section, ...lines].join("\n");
    })
    .join("\n\n");
}
