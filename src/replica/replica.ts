import type { GenerateEvent, GenerateRequest } from "../core/generate.ts";
import type { EngineStats } from "../engine/step-message.ts";

/** A place where requests run: an engine in this process, or another node. The gateway sees nothing else. */
export interface Replica {
  readonly name: string;
  /**
   * Runs a request. Ends after an `end` event for each choice. Throws ServeError: `overloaded` when its queue is full,
   * `invalid_argument` for what can never fit, `unavailable` while draining or dead, `cancelled` when `signal` aborts.
   * Aborting the signal, or returning from the iterator early, frees the slots and KV blocks within one step.
   */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>;
  stats(): ReplicaStats;
  /** Refuses new requests and resolves when the running ones have ended. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface ReplicaStats {
  /** False while loading, draining or failed. */
  ready: boolean;
  running: number;
  waiting: number;
  kvBlocksTotal: number;
  kvBlocksUsed: number;
  /** Bytes of a KV block of an engine in this process. */
  kvBlockBytes?: number;
  /** Tokens since start. */
  promptTokens: number;
  cachedTokens: number;
  outputTokens: number;
  preemptions: number;
  /** More of an engine in this process, for metrics. */
  engine?: Readonly<EngineStats>;
}
