/** What a queue needs to know of a job. */
export interface Queued {
  readonly tenant: string;
  /** How much work it is, in any unit that all jobs share. */
  readonly cost: number;
  readonly arrivedMs: number;
}

interface Line<T> {
  /** In the order in which they are taken. */
  readonly jobs: T[];
  /** Cost of what was taken for this tenant, on the queue's clock. */
  served: number;
}

/**
 * Jobs of several tenants. Of the tenants that wait, the one that has had the least work done comes next (start-time fair
 * queueing, Goyal, Vin and Cheng 1996), so a tenant with many jobs delays its own. Within a tenant short jobs go first,
 * but a job is overtaken only by those that come within `patienceMs` for each unit of its cost: none waits for ever.
 */
export class FairQueue<T extends Queued> {
  readonly #patienceMs: number;
  readonly #lines = new Map<string, Line<T>>();
  /** The least work done for any tenant that waits: one that comes now has no claim on the past. */
  #clock = 0;
  #size = 0;

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  get size(): number {
    return this.#size;
  }

  add(job: T): void {
    let line = this.#lines.get(job.tenant);
    if (line === undefined) {
      line = { jobs: [], served: 0 };
      this.#lines.set(job.tenant, line);
    }
    line.served = Math.max(line.served, this.#clock);
    const { jobs } = line;
    const due = this.#due(job);
    let at = jobs.length;
    while (at > 0 && this.#due(jobs[at - 1]!) > due) at--;
    jobs.splice(at, 0, job);
    this.#size++;
  }

  /** The next job; undefined when none waits. */
  take(): T | undefined {
    let next: Line<T> | undefined;
    for (const [tenant, line] of this.#lines) {
      if (line.jobs.length === 0) {
        // One that was served beyond its share is remembered, or its next job would come first again.
        if (line.served <= this.#clock) this.#lines.delete(tenant);
      } else if (next === undefined || line.served < next.served) next = line;
    }
    const job = next?.jobs.shift();
    if (next === undefined || job === undefined) return undefined;
    this.#clock = next.served;
    next.served += job.cost;
    this.#left();
    return job;
  }

  /** False where the job does not wait here. */
  remove(job: T): boolean {
    const line = this.#lines.get(job.tenant);
    const at = line?.jobs.indexOf(job) ?? -1;
    if (line === undefined || at < 0) return false;
    line.jobs.splice(at, 1);
    this.#left();
    return true;
  }

  #left(): void {
    this.#size--;
    if (this.#size > 0) return;
    // Nobody waited for what was done beyond a share.
    for (const line of this.#lines.values()) this.#clock = Math.max(this.#clock, line.served);
    this.#lines.clear();
  }

  #due(job: T): number {
    return job.arrivedMs + job.cost * this.#patienceMs;
  }
}
