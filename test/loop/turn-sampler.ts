/**
 * The longest turn of this thread's event loop, in milliseconds of the thread's own CPU time: what other processes take
 * from it does not count. A timer of 1 ms looks at the clock once a turn, so that what it finds is a turn or two short ones.
 */
export class TurnSampler {
  #longestMs = 0;
  #last = cpuMs();

  constructor() {
    setInterval(() => {
      const now = cpuMs();
      this.#longestMs = Math.max(this.#longestMs, now - this.#last);
      this.#last = now;
    }, 1);
  }

  /** The longest since the last call. */
  take(): number {
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }
}

/** CPU time of this thread since its start. */
export function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
