import type { LocalRequest } from "./local-request.ts";
import type { Death } from "./restart-budget.ts";

/** Workers that may die with a request that gets nowhere in between; the last of them with nobody beside it. */
const MAX_DEATHS = 3;
/** A new Worker that cannot compute a single token of no request at all, so often in a row, is broken. */
const MAX_CANARY_DEATHS = 2;
/** Requests given up in a row without any that gets through: then it is the engine, though the canary lives. */
const MAX_GUILTY_IN_ROW = 16;

export interface CrashTrialHandlers {
  /** Hands a request to the present Worker. */
  submit(request: LocalRequest): void;
  /** Takes a request from the present Worker; it will be submitted again. */
  withdraw(request: LocalRequest): void;
  /** Has the present Worker compute one token for nobody; onCanary() when it has. */
  runCanary(): void;
}

/** What a death comes to. */
export interface Verdict {
  /** To be given up. */
  readonly guilty: LocalRequest | undefined;
  /** The engine dies whatever it runs. */
  readonly broken: boolean;
}

/**
 * Finds the request that kills Workers, so that no other is ever given up for it. The only proof is a death with nobody
 * beside: after one, those that it caught before they got anywhere, whom it can be due to, are submitted one after the
 * other, each alone until it has got past the place where it was or has ended; the newest goes first, since what just came
 * is what changed. Meanwhile everyone else waits here, arrivals too. A stream that got somewhere is taken to be innocent of
 * a first death and goes on with the others; when the next comes before it is past the place of the first, it is tried,
 * too. A request whose trials end in deaths is given up at the third.
 *
 * A request that waited in the engine's queue at two deaths without a cause is tried as well: what has not begun can
 * disturb the planning of a step.
 *
 * After a verdict the next Worker first computes one token for nobody: if it dies of that the engine is broken, and no
 * request was at fault.
 */
export class CrashTrials {
  readonly #live: ReadonlySet<LocalRequest>;
  readonly #handlers: CrashTrialHandlers;
  /** To be tried, the next one last. */
  #suspects: LocalRequest[] = [];
  #onTrial: LocalRequest | undefined;
  #canary: "none" | "wanted" | "running" = "none";
  #canaryDeaths = 0;
  #guiltyInRow = 0;

  readonly #lag: number;

  /** `live`: all requests, in order of arrival. `lag`: tokens a choice may have in steps in flight. */
  constructor(live: ReadonlySet<LocalRequest>, lag: number, handlers: CrashTrialHandlers) {
    this.#live = live;
    this.#lag = lag;
    this.#handlers = handlers;
  }

  /** Submits a request now, or when the trials are over. */
  admit(request: LocalRequest): void {
    if (!this.#isIsolating) this.#handlers.submit(request);
  }

  /** A Worker died. */
  onDeath(death: Death): Verdict {
    const present = [...this.#live].filter((request) => request.submitted);
    for (const request of present) request.submitted = false;
    this.#onTrial = undefined;
    if (this.#canary === "running") {
      this.#canary = "wanted";
      return { guilty: undefined, broken: ++this.#canaryDeaths >= MAX_CANARY_DEATHS };
    }
    const suspects = present.filter((request) => this.#note(request, death));
    const [only] = present;
    if (present.length === 1 && only!.deaths.length >= MAX_DEATHS) return this.#convict(only!);
    this.#suspects.push(...suspects);
    return { guilty: undefined, broken: false };
  }

  /** A new Worker is there. */
  onReady(): void {
    this.#next();
  }

  /** A request got tokens. */
  onProgress(request: LocalRequest): void {
    if (request.deaths.length === 0 || !request.isPast) return;
    this.#acquit(request);
  }

  /** A request is over, or is taken from its Worker for a while. */
  onGone(request: LocalRequest): void {
    if (request.hasEnded) {
      this.#acquit(request);
      return;
    }
    // Whoever leaves with a suspicion explains the death as well as a proof does: nobody will ever know.
    if (request.isOver && request.isSuspected) this.#explain(request);
    if (request === this.#onTrial) this.#next();
  }

  /** The canary lives. */
  onCanary(): void {
    this.#canary = "none";
    this.#canaryDeaths = 0;
    this.#next();
  }

  get #isIsolating(): boolean {
    return this.#onTrial !== undefined || this.#suspects.length > 0 || this.#canary !== "none";
  }

  /** Notes a death in a request that it caught. Whether the request has to prove itself. */
  #note(request: LocalRequest, death: Death): boolean {
    const gotSomewhere = request.isPast;
    request.onDeath(death, this.#lag);
    return !gotSomewhere && (request.isSuspected || request.deaths.length > 1);
  }

  #convict(guilty: LocalRequest): Verdict {
    this.#explain(guilty);
    this.#canary = "wanted";
    return { guilty, broken: ++this.#guiltyInRow > MAX_GUILTY_IN_ROW };
  }

  /** Its deaths are nobody else's: neither the engine's nor those of requests that only waited then. */
  #explain(request: LocalRequest): void {
    for (const death of request.deaths) death.explained = true;
    request.acquit();
    for (const other of this.#live) {
      if (!other.isSuspected) other.deaths = other.deaths.filter((death) => !death.explained);
    }
  }

  #acquit(request: LocalRequest): void {
    request.acquit();
    this.#guiltyInRow = 0;
    if (request !== this.#onTrial) return;
    // The next one's trial is to be without company, too.
    if (!request.isOver && this.#suspects.length > 0) this.#handlers.withdraw(request);
    this.#next();
  }

  #next(): void {
    this.#onTrial = undefined;
    if (this.#canary === "wanted") {
      this.#canary = "running";
      this.#handlers.runCanary();
    }
    if (this.#canary === "running") return;
    while (this.#suspects.length > 0) {
      const suspect = this.#suspects.pop()!;
      // One whose reader is behind comes back when it has caught up.
      if (suspect.isOver || suspect.held || suspect.deaths.length === 0) continue;
      this.#onTrial = suspect;
      this.#handlers.submit(suspect);
      return;
    }
    for (const request of this.#live) if (!request.submitted) this.#handlers.submit(request);
  }
}
