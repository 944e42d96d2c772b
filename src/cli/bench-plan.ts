import { accessSync, closeSync, constants, existsSync, openSync } from "node:fs";
import os from "node:os";
import { dirname, resolve } from "node:path";
import {
  type BenchOptions,
  count,
  durationOf,
  parseApi,
  parseSlo,
  planCells,
  planWorkload,
  positive,
  seedOf,
  sessionsOfCell,
} from "../bench/plan-bench.ts";
import type { BenchPlan } from "../bench/run-bench.ts";
import type { Endpoint } from "../bench/types.ts";
import { LIMITS } from "../config/limits.ts";
import { systemClock } from "../core/clock.ts";
import { failureReason } from "../core/failure-reason.ts";
import type { BenchFlags } from "./bench-flags.ts";
import { CliError } from "./command.ts";

/** A run as the flags describe it, but for its endpoints; files are read here. */
export type PlanDraft = Omit<BenchPlan, "endpoints" | "headers" | "inProcess" | "rounds">;

/** Throws CliError or ServeError on a wrong option or an unreadable file. */
export async function draftPlan(flags: BenchFlags): Promise<PlanDraft> {
  const options: BenchOptions = {
    concurrency: flags.value("concurrency"),
    rate: flags.value("rate"),
    arrivals: flags.value("arrivals"),
    ramp: flags.value("ramp"),
    speed: flags.value("speed"),
    trace: await readText("--trace", flags.value("trace")),
    dataset: await readText("--dataset", flags.value("dataset")),
    inputTokens: flags.value("input-tokens"),
    outputTokens: flags.value("output-tokens"),
    sharedPrefix: flags.value("shared-prefix"),
    prefixGroups: flags.value("prefix-groups"),
    turns: flags.value("turns"),
    requests: flags.value("requests"),
    duration: flags.value("duration"),
    seed: flags.value("seed"),
  };
  const workload = planWorkload(options);
  const slo = flags.value("slo");
  return {
    api: parseApi(flags.value("api") ?? "chat"),
    cells: planCells(options),
    workload,
    sessionsOf: sessionsOfCell(options, workload),
    durationMs: durationOf(options),
    warmup: flags.value("warmup") === "0" ? 0 : count("--warmup", flags.value("warmup") ?? "3"),
    timeoutMs: positive("--timeout", flags.value("timeout") ?? "60") * 1000,
    slo: slo === undefined ? undefined : parseSlo(slo),
    seed: seedOf(options),
    exactLength: !flags.has("no-ignore-eos"),
    client: describeClient(),
    startedAt: new Date(systemClock.epochS() * 1000).toISOString(),
  };
}

/** Headers of every request: --header, and the key as a bearer token. */
export function headersOf(flags: BenchFlags, apiKey: string | undefined): Record<string, string> {
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  for (const header of flags.values("header")) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*([^\r\n]*)$/.exec(header);
    if (match === null) throw new CliError(`--header ${header}: expected NAME:VALUE`, 2);
    headers[match[1]!.toLowerCase()] = match[2]!;
  }
  return headers;
}

/** Labels name rows and results, so no two endpoints may share one. */
export function requireUniqueLabels(endpoints: readonly Endpoint[]): void {
  const labels = endpoints.map((endpoint) => endpoint.label);
  const twice = labels.find((label, index) => labels.indexOf(label) !== index);
  if (twice !== undefined)
    throw new CliError(`two endpoints are called ${twice}: name them, as in fast=http://HOST:PORT`, 2);
}

/** Throws CliError where a file cannot be written: that is better known before a long run than after it. */
export function requireWritable(option: string, path: string | undefined): void {
  if (path === undefined) return;
  try {
    // Neither a file that is there nor one that is not is changed.
    if (existsSync(path)) closeSync(openSync(path, "r+"));
    else accessSync(dirname(resolve(path)), constants.W_OK);
  } catch (error) {
    throw new CliError(`${option} ${path}: ${failureReason(error)}`, 2);
  }
}

async function readText(option: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const file = Bun.file(path);
  if (file.size > LIMITS.maxBenchDatasetBytes)
    throw new CliError(`${option} ${path}: larger than ${LIMITS.maxBenchDatasetBytes} bytes`, 2);
  return file.text().catch((error: unknown) => {
    throw new CliError(`${option} ${path}: ${failureReason(error)}`, 2);
  });
}

function describeClient(): string {
  const cpus = os.cpus();
  return `Bun ${Bun.version}, ${cpus.length} x ${cpus[0]?.model.trim() ?? "unknown CPU"}, ${os.platform()}`;
}
