import type { LocalRequest } from "./local-request.ts";

/**
 * Finds requests whose readers are behind. Each is given back to the caller to be held: nothing is computed for it until
 * its reader has taken what waits and asks for more. A reader that takes output as soon as it can is never behind,
 * whatever a step or several bring at once: it is looked at in the next turn of the event loop.
 */
export class SlowReaders {
  readonly #hold: (request: LocalRequest) => void;
  readonly #suspects = new Set<LocalRequest>();

  constructor(hold: (request: LocalRequest) => void) {
    this.#hold = hold;
  }

  /** To be called when a request has got output. */
  onOutput(request: LocalRequest): void {
    if (!request.isBehind) return;
    if (this.#suspects.size === 0) setImmediate(() => this.#look());
    this.#suspects.add(request);
  }

  #look(): void {
    const suspects = [...this.#suspects];
    // First: what holding one throws must not keep the others from ever being looked at.
    this.#suspects.clear();
    for (const request of suspects) if (request.isBehind && !request.isOver && !request.held) this.#hold(request);
  }
}
