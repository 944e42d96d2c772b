import { LIMITS } from "../../config/limits.ts";
import type { SamplingParams } from "../../core/sampling-params.ts";
import { type Fields, invalidField, wrongType } from "../fields.ts";

/** The sampling parameters that both endpoints share; only what the request names. Ranges are checked later. */
export function decodeSampling(fields: Fields): Partial<SamplingParams> {
  const topK = fields.integer("top_k");
  return named({
    minTokens: fields.integer("min_tokens"),
    temperature: fields.number("temperature"),
    topP: fields.number("top_p"),
    // vLLM writes "all" as -1.
    topK: topK === -1 ? 0 : topK,
    minP: fields.number("min_p"),
    seed: fields.integer("seed"),
    presencePenalty: fields.number("presence_penalty"),
    frequencyPenalty: fields.number("frequency_penalty"),
    repetitionPenalty: fields.number("repetition_penalty"),
    logitBias: decodeLogitBias(fields),
    stop: fields.strings("stop", { most: LIMITS.maxStopStrings, what: "stop strings" }),
    stopTokenIds: fields.integers("stop_token_ids", { most: LIMITS.maxStopTokenIds, what: "stop token ids" }),
    ignoreEos: fields.boolean("ignore_eos"),
    includeStopStrInOutput: fields.boolean("include_stop_str_in_output"),
    skipSpecialTokens: fields.boolean("skip_special_tokens"),
    promptLogprobs: fields.integer("prompt_logprobs"),
  });
}

/** Without the fields that are undefined. */
export function named<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

function decodeLogitBias(fields: Fields): Array<readonly [number, number]> | undefined {
  const biases = fields.fields("logit_bias");
  const names = biases?.names();
  fields.checkLength("logit_bias", names?.length ?? 0, { most: LIMITS.maxLogitBias, what: "logit biases" });
  return names?.map((name) => {
    if (!/^\d+$/.test(name)) {
      throw invalidField("logit_bias", `'logit_bias' maps token ids to numbers; '${name}' is no token id.`);
    }
    const bias = biases!.number(name);
    if (bias === undefined) throw wrongType(`logit_bias.${name}`, "a number", null);
    return [Number(name), bias] as const;
  });
}

export interface StreamOptions {
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

export function decodeStreamOptions(fields: Fields): StreamOptions {
  const stream = fields.boolean("stream") ?? false;
  const options = fields.fields("stream_options");
  const includeUsage = options?.boolean("include_usage") ?? false;
  if (options !== undefined && !stream) {
    throw invalidField("stream_options", "'stream_options' is only allowed when 'stream' is true.", "invalid_value");
  }
  if (stream && fields.raw("prompt_logprobs") !== undefined) {
    throw invalidField("prompt_logprobs", "'prompt_logprobs' is not available with 'stream'.", "invalid_value");
  }
  return { stream, includeUsage };
}
