import type { Limits } from "../config/limits.ts";
import type { LaneOutcome, WorkerLane } from "./worker-lane.ts";
import type { TextRequest } from "./worker-protocol.ts";

export interface LaneJob {
  readonly request: TextRequest;
  /** Its client has gone. */
  readonly abandoned: boolean;
  /** Takes the end of it, whatever that was. Must not throw. */
  readonly settle: (outcome: LaneOutcome) => void;
}

export interface LaneRunnerOptions<J extends LaneJob> {
  /** May throw. */
  readonly startLane: () => WorkerLane;
  /** The next job for this lane; undefined when none waits. */
  readonly next: () => J | undefined;
  readonly limits: Pick<Limits, "maxEncoderBytes" | "laneRestartMs">;
}

/**
 * Works jobs off one after the other, on one lane at a time: a lane that died, overran or is worn is replaced. Whatever
 * is thrown on the way ends the job at hand and no other.
 */
export class LaneRunner<J extends LaneJob> {
  readonly #options: LaneRunnerOptions<J>;
  #lane: WorkerLane | undefined;
  #job: J | undefined;
  #restart: Timer | undefined;
  #closed = false;

  /** `lane`: one that has been started already. */
  constructor(options: LaneRunnerOptions<J>, lane?: WorkerLane) {
    this.#options = options;
    this.#lane = lane;
    if (lane === undefined) this.#reopen();
    else this.#watch(lane);
  }

  get busy(): boolean {
    return this.#job !== undefined;
  }

  /** False while no Worker can be started. */
  get alive(): boolean {
    return this.#lane !== undefined && !this.#lane.closed;
  }

  /** Looks for work, unless it is at work. */
  wake(): void {
    if (!this.busy && !this.#closed) void this.#run();
  }

  /** Ends the lane; the job at hand ends as one whose Worker died. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#restart);
    this.#lane?.close();
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const job = this.#options.next();
      if (job === undefined) return;
      this.#job = job;
      let outcome: LaneOutcome;
      try {
        outcome = await this.#work(job);
      } catch (cause) {
        outcome = { type: "unsent", cause };
      }
      this.#job = undefined;
      job.settle(outcome);
    }
  }

  async #work(job: J): Promise<LaneOutcome> {
    const outcome = await this.#attempt(job.request);
    // A Worker may die for reasons of its own (memory); a request that kills two is not tried again.
    if ((outcome.type !== "died" && outcome.type !== "absent") || job.abandoned || this.#closed) return outcome;
    return this.#attempt(job.request);
  }

  async #attempt(request: TextRequest): Promise<LaneOutcome> {
    let lane: WorkerLane;
    try {
      lane = this.alive ? this.#lane! : this.#open();
    } catch (cause) {
      return { type: "absent", cause };
    }
    const outcome = await lane.run(request);
    const worn =
      (outcome.type === "encoded" && outcome.encoderBytes > this.#options.limits.maxEncoderBytes) ||
      (outcome.type === "failed" && outcome.reason === "encoder");
    if (worn) lane.close();
    // Start the next one now, not when a request waits for it.
    if (lane.closed) this.#reopen();
    return outcome;
  }

  #open(): WorkerLane {
    const lane = this.#options.startLane();
    this.#lane = lane;
    this.#watch(lane);
    return lane;
  }

  /** A lane that ends without a job, too, has to be replaced: a server that is not ready gets none. */
  #watch(lane: WorkerLane): void {
    void lane.ended.then(() => this.#reopenLater());
  }

  #reopen(): void {
    if (this.#closed || this.alive) return;
    try {
      this.#open();
    } catch {
      this.#reopenLater();
    }
  }

  /** Without a pause a Worker that cannot start would be started in a loop. */
  #reopenLater(): void {
    if (this.#closed || this.alive) return;
    clearTimeout(this.#restart);
    this.#restart = setTimeout(() => this.#reopen(), this.#options.limits.laneRestartMs);
    this.#restart.unref();
  }
}
