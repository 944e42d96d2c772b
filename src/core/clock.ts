/** The only source of time; tests and the simulator inject their own. */
export interface Clock {
  /** Monotonic milliseconds, with fractions. */
  nowMs(): number;
  /** Wall clock in whole seconds since 1970, for `created` fields. */
  epochS(): number;
}

/** Add it to systemClock.nowMs() to compare times of different threads: each counts from its own start. */
export const clockOriginMs = performance.timeOrigin;

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  epochS: () => Math.floor(Date.now() / 1000),
};
