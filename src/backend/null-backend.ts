import type { Backend, BackendInfo, BackendProfile, Ticket } from "./backend.ts";

/** Plain data, so that it can be posted to a Worker. */
export interface NullBackendConfig
  extends Omit<BackendInfo, "name" | "device" | "kvBlockBytes" | "weightBytes" | "numThreads"> {
  /** How long a step takes, asleep. */
  readonly stepMs: number;
}

/**
 * A device that computes nothing, to measure everything around it. Its tokens count through the vocabulary and mean
 * nothing.
 */
export class NullBackend implements Backend {
  readonly info: BackendInfo;
  readonly #stepMs: number;
  readonly #never = new Int32Array(new SharedArrayBuffer(4));
  #token = 0;
  #tickets = 0;

  constructor({ stepMs, ...config }: NullBackendConfig) {
    this.#stepMs = stepMs;
    this.info = { ...config, name: "null", device: "null", kvBlockBytes: 0, weightBytes: 0, numThreads: 0 };
  }

  setSlot(): void {}

  submit(): Ticket {
    return ++this.#tickets;
  }

  wait(_ticket: Ticket, result: Int32Array): void {
    const { vocabSize } = this.info;
    Atomics.wait(this.#never, 0, 0, this.#stepMs);
    for (let i = 0; i < result.length; i++) result[i] = this.#token = (this.#token + 1) % vocabSize;
  }

  reset(): void {}

  profile(): BackendProfile {
    return { steps: this.#tickets, tokens: 0, stepNs: 0, idleNs: 0, stages: {} };
  }

  close(): void {}
}
