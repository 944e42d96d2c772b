import type { Backend, BackendInfo, BackendProfile, Ticket } from "./backend.ts";

/** Plain data, so that it can be posted to a Worker. */
export interface NullBackendConfig
  extends Omit<BackendInfo, "name" | "device" | "kvBlockBytes" | "weightBytes" | "workspaceBytes" | "numThreads"> {
  /** How long a step takes, asleep. */
  readonly stepMs: number;
  /** Steps that take no time, at first. */
  readonly warmUpSteps: number;
  /** What is sampled, in turn: ids of some text, since common tokens cost less around the device than rare ones. */
  readonly tokens: Int32Array;
}

/** A device that computes nothing, to measure everything around it. */
export class NullBackend implements Backend {
  readonly info: BackendInfo;
  readonly #stepMs: number;
  readonly #warmUpSteps: number;
  readonly #tokens: Int32Array;
  readonly #never = new Int32Array(new SharedArrayBuffer(4));
  #next = 0;
  #tickets = 0;
  #sleepUs = 0;
  #numSlept = 0;

  constructor({ stepMs, warmUpSteps, tokens, ...config }: NullBackendConfig) {
    this.#stepMs = stepMs;
    this.#warmUpSteps = warmUpSteps;
    this.#tokens = tokens;
    this.info = {
      ...config,
      name: "null",
      device: "null",
      kvBlockBytes: 0,
      weightBytes: 0,
      workspaceBytes: 0,
      numThreads: 0,
    };
  }

  setSlot(): void {}

  submit(): Ticket {
    return ++this.#tickets;
  }

  wait(ticket: Ticket, result: Int32Array): void {
    if (ticket > this.#warmUpSteps) this.#sleep();
    for (let i = 0; i < result.length; i++) {
      result[i] = this.#tokens[this.#next++]!;
      if (this.#next === this.#tokens.length) this.#next = 0;
    }
  }

  #sleep(): void {
    const before = process.threadCpuUsage();
    Atomics.wait(this.#never, 0, 0, this.#stepMs);
    const { user, system } = process.threadCpuUsage(before);
    this.#sleepUs += user + system;
    this.#numSlept++;
  }

  reset(): void {}

  touch(_numBlocks: number, from: number): number {
    return from;
  }

  release(): void {}

  stepMs(): number {
    return this.#numSlept * this.#stepMs;
  }

  /** stepNs is the CPU that falling asleep and waking up took: a device's cost, not that of what is around it. */
  profile(): BackendProfile {
    return { steps: this.#tickets, tokens: 0, stepNs: 1000 * this.#sleepUs, idleNs: 0, stages: {} };
  }

  close(): void {}
}
