import type { LocalRequest } from "./local-request.ts";

/** Workers that may die under a request, without a token for it in between, before it is given up. */
const MAX_CRASHES = 2;

/**
 * Finds the request that kills Workers among those that died with it. After one death all are submitted again. Those
 * that were there at a second one, and got nothing in between, are submitted one after the other, each when the one
 * before has got a token or ended: the next death is then the fault of the one on trial.
 */
export class CrashTrials {
  readonly #submit: (request: LocalRequest) => void;
  #suspects: LocalRequest[] = [];
  #onTrial: LocalRequest | undefined;

  constructor(submit: (request: LocalRequest) => void) {
    this.#submit = submit;
  }

  /** A Worker died; returns the requests to give up. */
  onDeath(live: Iterable<LocalRequest>): LocalRequest[] {
    const guilty: LocalRequest[] = [];
    this.#suspects = [];
    this.#onTrial = undefined;
    for (const request of live) {
      if (!request.submitted) continue;
      request.submitted = false;
      if (++request.crashes > MAX_CRASHES) guilty.push(request);
    }
    return guilty;
  }

  /** A new Worker is there. */
  onReady(live: Iterable<LocalRequest>): void {
    for (const request of live) {
      if (request.crashes < MAX_CRASHES) this.#submit(request);
      else this.#suspects.push(request);
    }
    this.#next();
  }

  /** A request got a token or ended. */
  onProgress(request: LocalRequest): void {
    if (request === this.#onTrial) this.#next();
  }

  #next(): void {
    do this.#onTrial = this.#suspects.shift();
    while (this.#onTrial?.isOver);
    if (this.#onTrial) this.#submit(this.#onTrial);
  }
}
