import { type EngineStats, emptyStats, readStats } from "../engine/step-message.ts";

/** What starts from zero in a new Worker and must not go back for whoever watches. */
const COUNTERS = [
  "steps",
  "promptTokens",
  "cachedTokens",
  "outputTokens",
  "computedTokens",
  "preemptions",
  "draftTokens",
  "acceptedDraftTokens",
  "faults",
  "scheduleMs",
  "gapMs",
  "stepMs",
] as const satisfies readonly (keyof EngineStats)[];

/** The engine's statistics over all its Workers: counters go on where the last Worker's ended. */
export class ReplicaCounters {
  readonly #current = emptyStats();
  readonly #past = emptyStats();

  update(message: Int32Array): void {
    readStats(message, this.#current);
  }

  /** The Worker is gone. */
  restart(): void {
    for (const name of COUNTERS) this.#past[name] += this.#current[name];
    Object.assign(this.#current, emptyStats(), { kvBlocksTotal: this.#current.kvBlocksTotal });
  }

  set kvBlocksTotal(blocks: number) {
    this.#current.kvBlocksTotal = blocks;
  }

  total(): EngineStats {
    const total = { ...this.#current };
    for (const name of COUNTERS) total[name] += this.#past[name];
    return total;
  }
}
