import type { MachineLimits } from "../../src/backend/probe.ts";
import { type Figure, figureOf } from "../figure.ts";
import type { Measurement } from "./measurement.ts";

/** One round of one measurement: both sides within seconds of each other, and the machine's limits around parts of ours. */
export interface Round {
  readonly ours: Measurement;
  readonly peer: Measurement;
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
  readonly peer: Figure;
  /** Ours over the peer's, by round: neighbours on the machine disturb both sides of a round alike. */
  readonly ratio: Figure;
  /** CPU milliseconds a token. */
  readonly oursCpuMs: Figure;
  readonly peerCpuMs: Figure;
  /** Bytes read over what the machine can stream in the time, 0..1. */
  readonly readShare: Figure;
  /** Multiply-adds over the machine's int8 peak in the time, 0..1. */
  readonly computeShare: Figure;
}

export function summariseRounds(rounds: readonly Round[], work: Work): Summary {
  const figure = (of: (round: Round) => number): Figure => figureOf(rounds.map(of));
  return {
    ours: figure(({ ours }) => ours.tokensPerS),
    peer: figure(({ peer }) => peer.tokensPerS),
    ratio: figure(({ ours, peer }) => ours.tokensPerS / peer.tokensPerS),
    oursCpuMs: figure(({ ours }) => (ours.cpuSeconds * 1000) / ours.tokens),
    peerCpuMs: figure(({ peer }) => (peer.cpuSeconds * 1000) / peer.tokens),
    readShare: figure(({ ours, limits }) => work.bytes / ours.seconds / meanRate(limits.map((l) => l.readBytesPerS))),
    computeShare: figure(({ ours, limits }) => work.ops / ours.seconds / meanRate(limits.map((l) => l.int8MacsPerS))),
  };
}

/** Of equal amounts of work at these rates, one after the other. */
function meanRate(rates: readonly number[]): number {
  return rates.length / rates.reduce((sum, rate) => sum + 1 / rate, 0);
}
