/** The only source of time; tests and the simulator inject their own. */
export interface Clock {
  /** Monotonic milliseconds, with fractions. */
  nowMs(): number;
  /** Wall clock in whole seconds since 1970, for `created` fields. */
  epochS(): number;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  epochS: () => Math.floor(Date.now() / 1000),
};
