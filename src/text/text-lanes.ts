import type { Limits } from "../config/limits.ts";
import type { Clock } from "../core/clock.ts";
import { FairQueue, type Queued } from "./fair-queue.ts";
import { type LaneJob, LaneRunner } from "./lane-runner.ts";
import type { LaneOutcome, WorkerLane } from "./worker-lane.ts";
import type { TextRequest } from "./worker-protocol.ts";

export interface TextLanesOptions {
  readonly startLane: () => WorkerLane;
  readonly limits: Limits;
  readonly clock: Clock;
}

/** What a text is to the queue. */
export interface TextWork {
  readonly request: TextRequest;
  /** UTF-16 units to be rendered or encoded. */
  readonly chars: number;
  readonly tenant: string;
}

interface Job extends LaneJob, Queued {
  readonly chars: number;
  abandoned: boolean;
}

/** Every job costs this many characters at least: the messages between the threads. */
const FIXED_COST_CHARS = 256;

/** What waits of one tenant, or of all. */
interface Waiting {
  texts: number;
  chars: number;
}

/**
 * The tokenizer Workers and what waits for them. One lane takes long texts first, the other takes short ones alone: a
 * short text never waits for a long one. Both queues are fair between tenants.
 */
export class TextLanes {
  readonly #options: TextLanesOptions;
  readonly #short: FairQueue<Job>;
  readonly #long: FairQueue<Job>;
  readonly #main: LaneRunner<Job>;
  readonly #express: LaneRunner<Job>;
  readonly #waiting: Waiting = { texts: 0, chars: 0 };
  readonly #byTenant = new Map<string, Waiting>();
  /** When a text was last done, or the first began to wait. */
  #progressMs = 0;
  #closed = false;

  /** `lane` has been started; it becomes the first. */
  constructor(options: TextLanesOptions, lane: WorkerLane) {
    this.#options = options;
    this.#short = new FairQueue(options.limits.textPatienceMsPerChar);
    this.#long = new FairQueue(options.limits.textPatienceMsPerChar);
    this.#main = this.#runner(() => this.#long.take() ?? this.#short.take(), lane);
    this.#express = this.#runner(() => this.#short.take());
  }

  /** False once closed, while no Worker can be started, and while texts wait and none has been done for textStallMs. */
  get ready(): boolean {
    if (this.#closed || !(this.#main.alive || this.#express.alive)) return false;
    const { clock, limits } = this.#options;
    return this.#waiting.texts === 0 || clock.nowMs() - this.#progressMs <= limits.textStallMs;
  }

  /** False where one more text of this tenant, or of any, would be too much. */
  canTake({ chars, tenant }: TextWork): boolean {
    const { limits } = this.#options;
    const own = this.#byTenant.get(tenant);
    return (
      this.#waiting.texts < limits.maxQueuedTextsOfAll &&
      this.#waiting.chars + chars <= limits.maxQueuedTextCharsOfAll &&
      (own === undefined || (own.texts < limits.maxQueuedTexts && own.chars + chars <= limits.maxQueuedTextChars))
    );
  }

  /** Resolves with the end of it; undefined when `signal` aborts before. The text then leaves the queue at once. */
  run({ request, chars, tenant }: TextWork, signal: AbortSignal | undefined): Promise<LaneOutcome | undefined> {
    const { promise, resolve } = Promise.withResolvers<LaneOutcome | undefined>();
    const queue = chars <= this.#options.limits.expressTextChars ? this.#short : this.#long;
    const onAbort = () => {
      job.abandoned = true;
      if (queue.remove(job)) this.#left(job);
      resolve(undefined);
    };
    const arrivedMs = this.#options.clock.nowMs();
    const job: Job = {
      request,
      chars,
      tenant,
      cost: chars + FIXED_COST_CHARS,
      arrivedMs,
      abandoned: false,
      settle: (outcome) => {
        signal?.removeEventListener("abort", onAbort);
        // A Worker that was stopped or has died is no sign of life.
        if (outcome.type === "encoded" || outcome.type === "failed") this.#progressMs = this.#options.clock.nowMs();
        resolve(outcome);
      },
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    if (this.#waiting.texts === 0) this.#progressMs = arrivedMs;
    queue.add(job);
    this.#entered(job);
    this.#wake();
    return promise;
  }

  /** Ends what runs and what waits: all of it comes back as died. */
  close(): void {
    this.#closed = true;
    this.#main.close();
    this.#express.close();
    for (const queue of [this.#short, this.#long]) {
      for (let job = queue.take(); job !== undefined; job = queue.take()) {
        this.#left(job);
        job.settle({ type: "died", cause: "closed" });
      }
    }
  }

  #wake(): void {
    this.#main.wake();
    this.#express.wake();
  }

  #runner(take: () => Job | undefined, lane?: WorkerLane): LaneRunner<Job> {
    const next = () => {
      const job = take();
      if (job !== undefined) this.#left(job);
      return job;
    };
    const { startLane, limits } = this.#options;
    return new LaneRunner({ startLane, limits, next }, lane);
  }

  #entered({ tenant, chars }: Job): void {
    let own = this.#byTenant.get(tenant);
    if (own === undefined) this.#byTenant.set(tenant, (own = { texts: 0, chars: 0 }));
    for (const waiting of [own, this.#waiting]) {
      waiting.texts++;
      waiting.chars += chars;
    }
  }

  #left({ tenant, chars }: Job): void {
    const own = this.#byTenant.get(tenant)!;
    for (const waiting of [own, this.#waiting]) {
      waiting.texts--;
      waiting.chars -= chars;
    }
    if (own.texts === 0) this.#byTenant.delete(tenant);
  }
}
