import type { MachineLimits } from "../../src/backend/probe.ts";
import { type Figure, figureOf } from "../figure.ts";
import type { Measurement } from "./measurement.ts";

/** One round of one measurement: all sides within seconds of each other, and the machine's limits around parts of ours. */
export interface Round {
  readonly ours: Measurement;
  /** In the order of the peers. */
  readonly peers: readonly Measurement[];
  readonly limits: readonly MachineLimits[];
}

/** What a measurement must read and compute; see ScaleLlmSide.workOf. */
export interface Work {
  readonly bytes: number;
  readonly ops: number;
}

/** Over the rounds. */
export interface Summary {
  /** Tokens/s. */
  readonly ours: Figure;
  /** CPU milliseconds a token. */
  readonly oursCpuMs: Figure;
  readonly peers: readonly PeerSummary[];
  /** Index of the peer with the most tokens/s, by medians; -1 without peers. */
  readonly strongest: number;
  /** Bytes read over what the machine can stream in the time, 0..1. */
  readonly readShare: Figure;
  /** Multiply-adds over the machine's int8 peak in the time, 0..1. */
  readonly computeShare: Figure;
}

export interface PeerSummary {
  readonly tokensPerS: Figure;
  readonly cpuMs: Figure;
  /** Ours over the peer's, by round: neighbours on the machine disturb all sides of a round alike. */
  readonly ratio: Figure;
}

export function summariseRounds(rounds: readonly Round[], work: Work): Summary {
  const figure = (of: (round: Round) => number): Figure => figureOf(rounds.map(of));
  const peers = rounds[0]!.peers.map((_, i) => ({
    tokensPerS: figure(({ peers }) => peers[i]!.tokensPerS),
    cpuMs: figure(({ peers }) => cpuMs(peers[i]!)),
    ratio: figure(({ ours, peers }) => ours.tokensPerS / peers[i]!.tokensPerS),
  }));
  const speeds = peers.map(({ tokensPerS }) => tokensPerS.median);
  return {
    ours: figure(({ ours }) => ours.tokensPerS),
    oursCpuMs: figure(({ ours }) => cpuMs(ours)),
    peers,
    strongest: speeds.indexOf(Math.max(...speeds)),
    readShare: figure(({ ours, limits }) => work.bytes / ours.seconds / meanRate(limits.map((l) => l.readBytesPerS))),
    computeShare: figure(({ ours, limits }) => work.ops / ours.seconds / meanRate(limits.map((l) => l.int8MacsPerS))),
  };
}

function cpuMs({ cpuSeconds, tokens }: Measurement): number {
  return (cpuSeconds * 1000) / tokens;
}

/** Of equal amounts of work at these rates, one after the other. */
function meanRate(rates: readonly number[]): number {
  return rates.length / rates.reduce((sum, rate) => sum + 1 / rate, 0);
}
