import type { SamplingParams } from "./sampling-params.ts";

/** How a value is stored where it is used. Bounds hold for the stored value: 1e-46 is 0 as a float32. */
export type SamplingKind =
  | "int32"
  | "float32"
  /** 64 bits, signed or unsigned. */
  | "int64"
  | "boolean"
  | "strings"
  | "tokenIds"
  /** Pairs of token id and float32. */
  | "biases";

export interface SamplingField<Field extends keyof SamplingParams = keyof SamplingParams> {
  readonly field: Field;
  /** In JSON, in protobuf and in errors; the generated message's property is `field`. */
  readonly name: string;
  readonly kind: SamplingKind;
  /** Inclusive; of each bias. */
  readonly min?: number;
  readonly max?: number;
  /** `min` itself is too small. */
  readonly excludesMin?: true;
  /** Of a request that names none. */
  readonly default: SamplingParams[Field];
}

/** Alternatives reported for a token; vLLM's bound, and the size that native steps are laid out for. */
export const MAX_TOP_LOGPROBS = 20;
const MAX_INT32 = 2 ** 31 - 1;

/**
 * Every sampling parameter: drives decoding, checks, defaults and errors of all APIs. Ranges are OpenAI's where it has
 * one, else vLLM's.
 */
export const SAMPLING_FIELDS: readonly SamplingField[] = [
  { field: "maxTokens", name: "max_tokens", kind: "int32", min: 1, max: MAX_INT32, default: 16 },
  { field: "minTokens", name: "min_tokens", kind: "int32", min: 0, max: MAX_INT32, default: 0 },
  { field: "temperature", name: "temperature", kind: "float32", min: 0, max: 2, default: 1 },
  { field: "topP", name: "top_p", kind: "float32", min: 0, excludesMin: true, max: 1, default: 1 },
  { field: "topK", name: "top_k", kind: "int32", min: 0, max: MAX_INT32, default: 0 },
  { field: "minP", name: "min_p", kind: "float32", min: 0, max: 1, default: 0 },
  { field: "seed", name: "seed", kind: "int64", default: 0 },
  { field: "presencePenalty", name: "presence_penalty", kind: "float32", min: -2, max: 2, default: 0 },
  { field: "frequencyPenalty", name: "frequency_penalty", kind: "float32", min: -2, max: 2, default: 0 },
  { field: "repetitionPenalty", name: "repetition_penalty", kind: "float32", min: 0.01, max: 100, default: 1 },
  { field: "logitBias", name: "logit_bias", kind: "biases", min: -100, max: 100, default: [] },
  { field: "stop", name: "stop", kind: "strings", default: [] },
  { field: "stopTokenIds", name: "stop_token_ids", kind: "tokenIds", default: [] },
  { field: "ignoreEos", name: "ignore_eos", kind: "boolean", default: false },
  { field: "includeStopStrInOutput", name: "include_stop_str_in_output", kind: "boolean", default: false },
  { field: "skipSpecialTokens", name: "skip_special_tokens", kind: "boolean", default: true },
  { field: "logprobs", name: "logprobs", kind: "int32", min: 0, max: MAX_TOP_LOGPROBS, default: undefined },
  {
    field: "promptLogprobs",
    name: "prompt_logprobs",
    kind: "int32",
    min: 0,
    max: MAX_TOP_LOGPROBS,
    default: undefined,
  },
];

const BY_FIELD = new Map(SAMPLING_FIELDS.map((spec) => [spec.field, spec]));

export function samplingField(field: keyof SamplingParams): SamplingField {
  return BY_FIELD.get(field)!;
}

/** What is wrong with a number, to follow the parameter's name in a message; undefined where it can be used. */
export function problemOf(spec: SamplingField, value: number | bigint): string | undefined {
  if (spec.kind === "int64") return isInt64(value) ? undefined : "must be an integer of at most 64 bits";
  if (spec.kind === "int32" && !Number.isInteger(value)) return "must be an integer";
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY, excludesMin = false } = spec;
  const stored = spec.kind === "int32" ? Number(value) : Math.fround(Number(value));
  const low = Math.fround(min);
  const fits =
    (excludesMin ? stored > low : stored >= low) && stored <= (spec.kind === "int32" ? max : Math.fround(max));
  return fits ? undefined : `must be between ${min}${excludesMin ? " (exclusive)" : ""} and ${max}`;
}

/** From the least signed to the largest unsigned number of 64 bits. */
function isInt64(value: number | bigint): boolean {
  if (typeof value === "number") return Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 64;
  return value >= -(2n ** 63n) && value < 2n ** 64n;
}
