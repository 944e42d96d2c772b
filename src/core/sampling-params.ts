/** How tokens are chosen and when a sequence ends. Fields are the OpenAI and vLLM ones, in camelCase, all resolved. */
export interface SamplingParams {
  /** Most output tokens; already clipped to what the context leaves. */
  maxTokens: number;
  /** Stop token ids (end of sequence included) cannot be sampled before this many output tokens. */
  minTokens: number;
  /** 0 is greedy. */
  temperature: number;
  /** 1 is off. */
  topP: number;
  /** 0 is off. */
  topK: number;
  /** 0 is off. */
  minP: number;
  /** The random stream is a function of (seed, output position); each of n choices uses seed + index. */
  seed: number;
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
export const DEFAULT_SAMPLING: SamplingParams = Object.freeze({
  maxTokens: 16,
  minTokens: 0,
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  seed: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: [],
  stop: [],
  stopTokenIds: [],
  ignoreEos: false,
  includeStopStrInOutput: false,
  skipSpecialTokens: true,
  logprobs: undefined,
  promptLogprobs: undefined,
});

/** A field as both APIs spell it: top_p. */
export function samplingFieldName(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
