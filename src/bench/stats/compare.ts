import type { Load, RequestRecord } from "../types.ts";
import {
  bootstrapRatio,
  type Clusters,
  meanStatistic,
  ofSample,
  quantileStatistic,
  type RatioInterval,
  type WeightedStatistic,
} from "./bootstrap.ts";
import { type Latencies, latenciesOf } from "./summary.ts";

/** One figure of two samples. */
export interface Comparison {
  figure: string;
  unit: "ms" | "tok/s";
  a: number;
  b: number;
  /** b over a; undefined where the samples are too small for an interval. */
  interval: RatioInterval | undefined;
  /** What the interval allows to say of b; `unclear` when it holds 1. */
  verdict: "better" | "worse" | "unclear";
}

/** One side of a comparison: an endpoint in a cell. */
export interface Sample {
  records: readonly RequestRecord[];
  outputTokensPerS: number;
  load: Load;
}

const LATENCIES: ReadonlyArray<readonly [string, (latencies: Latencies) => readonly number[]]> = [
  ["TTFT", (latencies) => [latencies.ttftMs]],
  ["ITL", (latencies) => latencies.itlMs],
  ["TPOT", (latencies) => (latencies.tpotMs === undefined ? [] : [latencies.tpotMs])],
  ["E2E", (latencies) => [latencies.e2eMs]],
];
const STATISTICS: ReadonlyArray<readonly [string, (clusters: Clusters) => WeightedStatistic]> = [
  ["mean", meanStatistic],
  ["p50", (clusters) => quantileStatistic(clusters, 0.5)],
  ["p99", (clusters) => quantileStatistic(clusters, 0.99)],
];

/**
 * Every figure of b against a. Sessions are the clusters. Paired, a session of one side belongs to that of the same number
 * on the other (the same lengths, sent at about the same moment), and those that only one side finished are left out: what
 * befell both cancels, so intervals are narrower. Throughput of a closed loop follows from the requests by
 * Little's law, concurrency * tokens / E2E, which is what is resampled; an open loop's is set by its arrivals, so it has
 * no interval.
 */
export function compareSamples(a: Sample, b: Sample, seed: number, paired = false): Comparison[] {
  const [sessionsA, sessionsB] = [sessionsOf(a.records), sessionsOf(b.records)];
  const inBoth = [...sessionsA.keys()].filter((session) => sessionsB.has(session));
  const [left, right] = [sessionsA, sessionsB].map((sessions) =>
    paired ? inBoth.map((session) => sessions.get(session)!) : [...sessions.values()],
  ) as [Finished[][], Finished[][]];
  const out: Comparison[] = [];
  for (const [name, pick] of LATENCIES) {
    const clustersA = left.map((session) => session.flatMap(({ latencies }) => pick(latencies)));
    const clustersB = right.map((session) => session.flatMap(({ latencies }) => pick(latencies)));
    for (const [kind, statisticOf] of STATISTICS) {
      const [sideA, sideB] = [measure(clustersA, statisticOf), measure(clustersB, statisticOf)];
      out.push(compareOne(`${name} ${kind}`, "ms", sideA, sideB, seed, paired));
    }
  }
  const closed = a.load.kind === "closed" && b.load.kind === "closed";
  const throughput = closed
    ? compareOne("throughput", "tok/s", measure(left, tokensPerMs), measure(right, tokensPerMs), seed, paired)
    : undefined;
  out.push({
    figure: "throughput",
    unit: "tok/s",
    a: a.outputTokensPerS,
    b: b.outputTokensPerS,
    interval: throughput?.interval,
    verdict: throughput?.verdict ?? "unclear",
  });
  return out;
}

type Finished = { record: RequestRecord; latencies: Latencies };

function sessionsOf(records: readonly RequestRecord[]): Map<number, Finished[]> {
  const sessions = new Map<number, Finished[]>();
  for (const record of records) {
    const latencies = latenciesOf(record);
    if (latencies === undefined) continue;
    const session = sessions.get(record.session);
    if (session === undefined) sessions.set(record.session, [{ record, latencies }]);
    else session.push({ record, latencies });
  }
  return sessions;
}

function tokensPerMs(sessions: readonly Finished[][]): WeightedStatistic {
  const totals = sessions.map((session) => ({
    tokens: session.reduce((sum, { record }) => sum + record.outputTokens, 0),
    ms: session.reduce((sum, { latencies }) => sum + latencies.e2eMs, 0),
  }));
  return (weights) => {
    let tokens = 0;
    let ms = 0;
    for (let i = 0; i < totals.length; i++) {
      tokens += weights[i]! * totals[i]!.tokens;
      ms += weights[i]! * totals[i]!.ms;
    }
    return tokens / ms;
  };
}

/** A statistic and the number of clusters it is of. */
interface Side {
  statistic: WeightedStatistic;
  size: number;
}

function measure<T>(clusters: readonly T[], statisticOf: (clusters: readonly T[]) => WeightedStatistic): Side {
  return { statistic: statisticOf(clusters), size: clusters.length };
}

function compareOne(
  figure: string,
  unit: Comparison["unit"],
  a: Side,
  b: Side,
  seed: number,
  paired: boolean,
): Comparison {
  const interval = bootstrapRatio(a, b, seed, paired);
  const higherIsBetter = unit === "tok/s";
  let verdict: Comparison["verdict"] = "unclear";
  if (interval !== undefined && interval.low > 1) verdict = higherIsBetter ? "better" : "worse";
  if (interval !== undefined && interval.high < 1) verdict = higherIsBetter ? "worse" : "better";
  return {
    figure,
    unit,
    a: ofSample(a.statistic, a.size),
    b: ofSample(b.statistic, b.size),
    interval,
    verdict,
  };
}
