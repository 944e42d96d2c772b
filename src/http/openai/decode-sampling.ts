import { LIMITS } from "../../config/limits.ts";
import { reflected } from "../../core/reflected.ts";
import { SAMPLING_FIELDS, type SamplingKind } from "../../core/sampling-fields.ts";
import type { SamplingParams } from "../../core/sampling-params.ts";
import { type Fields, invalidField, wrongType } from "../fields.ts";

/** Read by each endpoint in its own way. */
const READ_ELSEWHERE: ReadonlySet<string> = new Set(["maxTokens", "logprobs"]);

/** The sampling parameters that both endpoints share; only what the request names. Ranges are checked later. */
export function decodeSampling(fields: Fields): Partial<SamplingParams> {
  const decoded: Record<string, unknown> = {};
  for (const spec of SAMPLING_FIELDS) {
    if (READ_ELSEWHERE.has(spec.field)) continue;
    const value = READERS[spec.kind](fields, spec.name);
    if (value !== undefined) decoded[spec.field] = value;
  }
  return decoded;
}

const READERS: Readonly<Record<SamplingKind, (fields: Fields, name: string) => unknown>> = {
  int32: (fields, name) => fields.integer(name),
  float32: (fields, name) => fields.number(name),
  int64: (fields, name) => fields.integer64(name),
  boolean: (fields, name) => fields.boolean(name),
  strings: (fields, name) => fields.strings(name, { most: LIMITS.maxStopStrings, what: "stop strings" }),
  tokenIds: (fields, name) => fields.integers(name, { most: LIMITS.maxStopTokenIds, what: "stop token ids" }),
  biases: decodeBiases,
};

/** Without the fields that are undefined. */
export function named<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

function decodeBiases(fields: Fields, field: string): Array<readonly [number, number]> | undefined {
  const biases = fields.fields(field);
  const names = biases?.names();
  fields.checkLength(field, names?.length ?? 0, { most: LIMITS.maxLogitBias, what: "logit biases" });
  return names?.map((name) => {
    if (!/^\d+$/.test(name)) {
      throw invalidField(field, `'${field}' maps token ids to numbers; '${reflected(name)}' is no token id.`);
    }
    const bias = biases!.number(name);
    if (bias === undefined) throw wrongType(`${field}.${name}`, "a number", null);
    return [Number(name), bias] as const;
  });
}

export interface StreamOptions {
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** With includeUsage: each chunk tells the usage of its choice so far, as in vLLM. */
  readonly continuousUsage: boolean;
}

export function decodeStreamOptions(fields: Fields): StreamOptions {
  const stream = fields.boolean("stream") ?? false;
  const options = fields.fields("stream_options");
  const includeUsage = options?.boolean("include_usage") ?? false;
  const continuousUsage = (options?.boolean("continuous_usage_stats") ?? false) && includeUsage;
  if (options !== undefined && !stream) {
    throw invalidField("stream_options", "'stream_options' is only allowed when 'stream' is true.", "invalid_value");
  }
  if (stream && fields.raw("prompt_logprobs") !== undefined) {
    throw invalidField("prompt_logprobs", "'prompt_logprobs' is not available with 'stream'.", "invalid_value");
  }
  return { stream, includeUsage, continuousUsage };
}
