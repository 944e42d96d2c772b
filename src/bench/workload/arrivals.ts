import type { Rng } from "../stats/rng.ts";
import type { Load } from "../types.ts";

/** An open loop: requests start when their time has come, however slow the server is. */
export type OpenLoad = Exclude<Load, { kind: "closed" }>;

/**
 * Start times of an open loop in milliseconds from its beginning, ascending, without end (a ramp ends with its
 * duration). A trace has its own times: see `traceArrivals`.
 *
 * The ramp's times come from the time-rescaling theorem: unit-rate Poisson events mapped through the inverse of the
 * cumulative rate  from*t + (to-from)*t^2/(2*duration).
 */
export function* arrivals(load: Exclude<OpenLoad, { kind: "trace" }>, rng: Rng): Generator<number> {
  if (load.kind === "ramp") {
    const { fromPerS, toPerS, durationS } = load;
    const slope = (toPerS - fromPerS) / durationS;
    for (let events = rng.exponential(); ; events += rng.exponential()) {
      // Solves slope/2 t^2 + from t = events, in the form that stays exact for a flat ramp.
      const discriminant = fromPerS * fromPerS + 2 * slope * events;
      if (discriminant < 0) return;
      const seconds = (2 * events) / (fromPerS + Math.sqrt(discriminant));
      if (!(seconds <= durationS)) return;
      yield seconds * 1000;
    }
  }
  const gapMs = 1000 / load.ratePerS;
  if (load.kind === "constant") for (let i = 0; ; i++) yield i * gapMs;
  for (let atMs = 0; ; atMs += rng.exponential() * gapMs) yield atMs;
}

/** A trace's own timestamps, from its first, divided by the speed. */
export function* traceArrivals(timestampsMs: readonly number[], speed: number): Generator<number> {
  const first = timestampsMs[0] ?? 0;
  for (const timestamp of timestampsMs) yield (timestamp - first) / speed;
}
