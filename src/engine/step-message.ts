/**
 * What a step did, as one Int32Array: a single message a step, cloned in a microsecond, without an object a token.
 *
 *   header: HEADER_WORDS words: the statistics of STATS, float64 each
 *   records, each [kind, sequence id, ...]:
 *     STARTED  [.., cached tokens, ms since it arrived (float32 bits)]
 *     TOKENS   [.., finish, n, top, tokens[n]] and, where top >= 0, n rows of [logprob, rank, top * (id, logprob)]
 *     PROMPT   [.., n, top] and n rows of [token, logprob, rank, top * (id, logprob)]: the next n prompt tokens' scores
 *     PREEMPTED [..]
 *     FAILED   [.., FailCode, retry after seconds]
 */
export const RECORD = { started: 1, tokens: 2, prompt: 3, preempted: 4, failed: 5 } as const;

export const FINISH = { none: 0, stop: 1, length: 2 } as const;

export const FAIL = {
  /** The queue is full. */
  overloaded: 1,
  deadline: 2,
  /** Steps that carried it failed again and again. */
  internal: 3,
  /** Prompt and one more token are longer than any context. */
  tooLong: 4,
  /** The backend refused it alone, or the engine failed over it alone; a RequestRefused says why. */
  refused: 5,
} as const;

/** Statistics in the header, float64 each. Counters count since the engine started. */
export const STATS = [
  "running",
  "waiting",
  "kvBlocksTotal",
  "kvBlocksUsed",
  "kvBlocksCached",
  /** Blocks that take memory: those once written whose pages have not been given back. */
  "kvBlocksResident",
  "steps",
  "promptTokens",
  "cachedTokens",
  "outputTokens",
  "computedTokens",
  "preemptions",
  "draftTokens",
  "acceptedDraftTokens",
  "faults",
  /** Time spent around the device, summed: to decide, pack, submit, commit and post. Of it, to pack and to commit: */
  "scheduleMs",
  "packMs",
  "commitMs",
  /** Time from the end of a step to the start of the next while there was work: the device was idle. */
  "gapMs",
  "stepMs",
  /** Tokens that waiting sequences have yet to compute. */
  "queuedTokens",
  /** Tokens computed a second, averaged over recent steps. */
  "tokensPerS",
  /** When the message was posted, on the clock of the engine's thread. */
  "postedMs",
] as const;
export type EngineStats = Record<(typeof STATS)[number], number>;

export const HEADER_WORDS = 2 * STATS.length;

export function emptyStats(): EngineStats {
  return Object.fromEntries(STATS.map((name) => [name, 0])) as EngineStats;
}

const scratch = new Float32Array(1);
const scratchBits = new Int32Array(scratch.buffer);

export function floatBits(value: number): number {
  scratch[0] = value;
  return scratchBits[0]!;
}

export function bitsFloat(bits: number): number {
  scratchBits[0] = bits;
  return scratch[0]!;
}

const POSTED_AT = 2 * STATS.indexOf("postedMs");
const double = new Float64Array(1);
const doubleWords = new Int32Array(double.buffer);

/** The one statistic that is of use with every message. */
export function readPostedMs(message: Int32Array): number {
  doubleWords[0] = message[POSTED_AT]!;
  doubleWords[1] = message[POSTED_AT + 1]!;
  return double[0]!;
}

export function readStats(message: Int32Array, into: EngineStats): void {
  const values = new Float64Array(message.buffer, message.byteOffset, STATS.length);
  for (let i = 0; i < STATS.length; i++) into[STATS[i]!] = values[i]!;
}
