import { type EngineStats, emptyStats, readPostedMs, readStats } from "../engine/step-message.ts";

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
  "packMs",
  "commitMs",
  "gapMs",
  "stepMs",
] as const satisfies readonly (keyof EngineStats)[];

/** The engine's statistics over all its Workers: counters go on where the last Worker's ended. */
export class ReplicaCounters {
  /** Step messages, and how long they took from the engine's thread to this one, summed. */
  messages = 0;
  messageMs = 0;
  readonly #current = emptyStats();
  readonly #past = emptyStats();
  /** The last step message, until someone asks what it says. */
  #unread: Int32Array | undefined;

  /** `nowMs` is on the clock of the engine's thread. */
  update(message: Int32Array, nowMs: number): void {
    this.#unread = message;
    this.messages++;
    this.messageMs += nowMs - readPostedMs(message);
  }

  /** The Worker is gone. */
  restart(): void {
    this.#read();
    for (const name of COUNTERS) this.#past[name] += this.#current[name];
    Object.assign(this.#current, emptyStats(), { kvBlocksTotal: this.#current.kvBlocksTotal });
  }

  set kvBlocksTotal(blocks: number) {
    this.#current.kvBlocksTotal = blocks;
  }

  total(): EngineStats {
    this.#read();
    const total = { ...this.#current };
    for (const name of COUNTERS) total[name] += this.#past[name];
    return total;
  }

  #read(): void {
    if (this.#unread) readStats(this.#unread, this.#current);
    this.#unread = undefined;
  }
}
