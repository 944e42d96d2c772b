import { LIMITS } from "../config/limits.ts";
import { ServeError } from "../core/errors.ts";
import type { Slo } from "./stats/summary.ts";
import { type ApiKind, type Cell, describeLoad, type Endpoint, type Load } from "./types.ts";
import { parseLengths } from "./workload/lengths.ts";
import type { Workload } from "./workload/session.ts";
import { shareGptWorkload } from "./workload/sharegpt.ts";
import { syntheticWorkload } from "./workload/synthetic.ts";
import { parseTrace, traceWorkload } from "./workload/trace.ts";

/** The options of `bench` as they were typed, files already read. Undefined: not given. */
export interface BenchOptions {
  concurrency: string | undefined;
  rate: string | undefined;
  arrivals: string | undefined;
  ramp: string | undefined;
  speed: string | undefined;
  trace: string | undefined;
  dataset: string | undefined;
  inputTokens: string | undefined;
  outputTokens: string | undefined;
  sharedPrefix: string | undefined;
  prefixGroups: string | undefined;
  turns: string | undefined;
  requests: string | undefined;
  duration: string | undefined;
  seed: string | undefined;
}

const DEFAULT_CONCURRENCY = "1,2,4,8,16,32,64";
/** How long an open loop runs unless it is told otherwise. */
const DEFAULT_OPEN_S = 30;

/** Requests of a closed loop's cell unless told otherwise: three waves, and enough at low concurrency to have a tail. */
function defaultRequests(concurrency: number): number {
  return Math.max(16, 3 * concurrency);
}

/** The loads of a run, in order. Throws ServeError that names the option. */
export function planCells(options: BenchOptions): Cell[] {
  const ways = [options.concurrency, options.rate, options.ramp, options.trace].filter((way) => way !== undefined);
  if (ways.length > 1) throw wrong("--concurrency", "choose one of --concurrency, --rate, --ramp and --trace");
  return loadsOf(options).map((load, index) => ({ index, load, ...describeLoad(load) }));
}

function loadsOf(options: BenchOptions): Load[] {
  if (options.trace !== undefined) return [{ kind: "trace", speed: positive("--speed", options.speed ?? "1") }];
  if (options.ramp !== undefined) {
    const [from, to] = options.ramp.split("-");
    const fromPerS = positive("--ramp", from ?? "");
    const toPerS = positive("--ramp", to ?? "");
    return [{ kind: "ramp", fromPerS, toPerS, durationS: durationOf(options) / 1000 }];
  }
  if (options.rate !== undefined) {
    const kind = options.arrivals ?? "poisson";
    if (kind !== "poisson" && kind !== "constant") throw wrong("--arrivals", "expected poisson or constant");
    return list("--rate", options.rate).map((ratePerS) => ({ kind, ratePerS }));
  }
  return list("--concurrency", options.concurrency ?? DEFAULT_CONCURRENCY).map((concurrency) => {
    if (!Number.isInteger(concurrency) || concurrency > LIMITS.maxBenchInFlight)
      throw wrong("--concurrency", `expected whole numbers up to ${LIMITS.maxBenchInFlight}`);
    return { kind: "closed", concurrency };
  });
}

/** How many sessions each endpoint gets in a cell; a duration alone sets no number. */
export function sessionsOfCell(options: BenchOptions, workload: Workload): (cell: Cell) => number {
  const asked = options.requests === undefined ? undefined : count("--requests", options.requests);
  return ({ load }) => {
    if (load.kind === "trace") return Math.min(asked ?? LIMITS.maxBenchRequests, workload.distinct);
    if (asked !== undefined) return asked;
    return load.kind === "closed" && options.duration === undefined
      ? defaultRequests(load.concurrency)
      : LIMITS.maxBenchRequests;
  };
}

/** Milliseconds during which a cell starts sessions. */
export function durationOf(options: BenchOptions): number {
  if (options.duration !== undefined) return positive("--duration", options.duration) * 1000;
  const isOpen = options.rate !== undefined || options.ramp !== undefined;
  return isOpen && options.requests === undefined ? DEFAULT_OPEN_S * 1000 : Number.POSITIVE_INFINITY;
}

export function planWorkload(options: BenchOptions): Workload {
  const seed = seedOf(options);
  const turns = count("--turns", options.turns ?? "1");
  if (options.trace !== undefined) return traceWorkload(parseTrace(options.trace), seed);
  if (options.dataset !== undefined) return shareGptWorkload(options.dataset, { turns, seed });
  return syntheticWorkload({
    input: parseLengths(options.inputTokens ?? "128", "--input-tokens"),
    output: parseLengths(options.outputTokens ?? "128", "--output-tokens"),
    sharedPrefixTokens: options.sharedPrefix === undefined ? 0 : count("--shared-prefix", options.sharedPrefix),
    prefixGroups: count("--prefix-groups", options.prefixGroups ?? "1"),
    turns,
    seed,
  });
}

export function seedOf(options: BenchOptions): number {
  const seed = Number(options.seed ?? "1");
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff) throw wrong("--seed", "expected 0 to 4294967295");
  return seed;
}

/** Reads `[LABEL=]URL[#MODEL]`; the path /v1 is added to a bare host. Labels left out are the hosts. */
export function parseEndpoint(text: string): Endpoint {
  const named = /^([^=/:]+)=(.*)$/.exec(text);
  const address = named?.[2] ?? text;
  let url: URL;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(address) ? address : `http://${address}`);
  } catch {
    throw wrong("URL", `${text} is not [LABEL=]URL[#MODEL]`);
  }
  if (!/^https?:$/.test(url.protocol)) throw wrong("URL", `${text} is neither http:// nor https://`);
  const model = url.hash === "" ? undefined : decodeURIComponent(url.hash.slice(1));
  url.hash = "";
  if (url.pathname === "/") url.pathname = "/v1";
  return { label: named?.[1] ?? url.host, baseUrl: url, model };
}

/** Reads `ttft=500,tpot=50,e2e=5000`, in ms. */
export function parseSlo(text: string): Slo {
  const slo: Slo = {};
  for (const part of text.split(",")) {
    const [name = "", value = ""] = part.split("=");
    const ms = positive("--slo", value);
    if (name === "ttft") slo.ttftMs = ms;
    else if (name === "tpot") slo.tpotMs = ms;
    else if (name === "e2e") slo.e2eMs = ms;
    else throw wrong("--slo", "expected ttft=MS, tpot=MS and e2e=MS, separated by commas");
  }
  return slo;
}

export function parseApi(text: string): ApiKind {
  if (text === "chat" || text === "completions") return text;
  throw wrong("--api", "expected chat or completions");
}

/** A whole number from 1. */
export function count(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= LIMITS.maxBenchRequests) return value;
  throw wrong(option, `expected a whole number from 1 to ${LIMITS.maxBenchRequests}`);
}

export function positive(option: string, text: string): number {
  const value = Number(text);
  if (text !== "" && Number.isFinite(value) && value > 0) return value;
  throw wrong(option, "expected a number above 0");
}

function list(option: string, text: string): number[] {
  const values = text.split(",").map((item) => positive(option, item.trim()));
  if (new Set(values).size !== values.length) throw wrong(option, "a value is there twice");
  return values;
}

function wrong(option: string, why: string): ServeError {
  return new ServeError("invalid_argument", `${option}: ${why}.`, { param: option });
}
