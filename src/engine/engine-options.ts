/** How the engine schedules. Every field is resolved; the command line's defaults are in config/options.ts. */
export interface EngineOptions {
  /** Most sequences in one step. Bounded by the backend's slots. */
  readonly maxNumSeqs: number;
  /** Most tokens in one step. Bounded by the backend's. */
  readonly maxNumBatchedTokens: number;
  /** Most requests that wait; beyond it they are refused as overloaded. */
  readonly maxQueue: number;
  /** Prefill chunks are sized so that a step stays under this; 0: chunks fill the step. */
  readonly itlTargetMs: number;
  readonly prefixCaching: boolean;
  /** Tenants share cached prefixes. Off: a cached count tells a tenant only what it asked itself. */
  readonly sharePrefixCache: boolean;
  /** Prepare and submit a step while the one before it computes. */
  readonly asyncScheduling: boolean;
  /** Most draft tokens a sequence and step; 0: no speculation. Speculation turns asynchronous scheduling off. */
  readonly speculativeTokens: number;
  /** Memory of KV blocks that nobody used for this long goes back to the system, cached prefixes included; 0: never. */
  readonly kvIdleTimeoutMs: number;
  /** Seed of the prefix cache's hash: a client who cannot know it cannot make prompts collide. */
  readonly hashSeed: number;
}

export const DEFAULT_ENGINE_OPTIONS: EngineOptions = Object.freeze({
  maxNumSeqs: 64,
  maxNumBatchedTokens: 512,
  maxQueue: 1024,
  itlTargetMs: 0,
  prefixCaching: true,
  sharePrefixCache: false,
  asyncScheduling: true,
  speculativeTokens: 0,
  kvIdleTimeoutMs: 300_000,
  hashSeed: 0x5ca1e11,
});
