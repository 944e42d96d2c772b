import { SAMPLING_FIELDS } from "./sampling-fields.ts";

/** How tokens are chosen and when a sequence ends. Fields are the OpenAI and vLLM ones, in camelCase, all resolved. */
export interface SamplingParams {
  /** Most output tokens; already clipped to what the context leaves. */
  maxTokens: number;
  /** The choice cannot end by itself, on a stop token, an end token or a stop string, within this many output tokens. */
  minTokens: number;
  /** 0 is greedy. */
  temperature: number;
  /** 1 is off. */
  topP: number;
  /** 0 is off. */
  topK: number;
  /** 0 is off. */
  minP: number;
  /**
   * 64 bits, signed or unsigned; a bigint where a number would round. The random stream is a function of (seed modulo
   * 2^64, output position); each of n choices uses choiceSeed().
   */
  seed: number | bigint;
  presencePenalty: number;
  frequencyPenalty: number;
  /** 1 is off. */
  repetitionPenalty: number;
  /** Pairs of token id and bias. */
  logitBias: ReadonlyArray<readonly [number, number]>;
  /** Stop strings, matched in the text; found in replica/local. */
  stop: readonly string[];
  /** Matched by the engine, beside the model's own end tokens. */
  stopTokenIds: readonly number[];
  /** Do not end at the model's end tokens. */
  ignoreEos: boolean;
  /** Include the matched stop string in the text. */
  includeStopStrInOutput: boolean;
  skipSpecialTokens: boolean;
  /** Number of top alternatives to report for each output token, 0..20; undefined: no logprobs at all. */
  logprobs: number | undefined;
  /** The same for prompt tokens. */
  promptLogprobs: number | undefined;
}

/** Values of a request that names none. */
export const DEFAULT_SAMPLING = Object.freeze(
  Object.fromEntries(SAMPLING_FIELDS.map((spec) => [spec.field, spec.default])),
) as unknown as SamplingParams;

/**
 * The seed of one of a request's choices: seed + index modulo 2^64, so that no two share one. A number where that is
 * exact, as for nearly every request.
 */
export function choiceSeed(seed: number | bigint, index: number): number | bigint {
  if (typeof seed === "number" && Number.isSafeInteger(seed) && Number.isSafeInteger(seed + index)) return seed + index;
  return BigInt.asUintN(64, BigInt(seed) + BigInt(index));
}
