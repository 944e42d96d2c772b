import { ConfigError, parseInteger, parseNumber } from "../config/parse.ts";
import { nearestName } from "../core/nearest-name.ts";
import { samplingField } from "../core/sampling-fields.ts";
import type { SamplingParams } from "../core/sampling-params.ts";

const anyInteger = (value: string) => parseInteger(value, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

/** Reads a number within the API's range. */
function ranged(field: keyof SamplingParams): (value: string) => number {
  const { kind, min, max } = samplingField(field);
  const parse = kind === "int32" ? parseInteger : parseNumber;
  return (value) => parse(value, min!, max!);
}

/** What a person may choose for an answer: the request's field, its help and its reader. */
export const CHAT_OPTIONS = {
  "max-tokens": {
    hint: "N",
    help: "most tokens of an answer",
    parse: ranged("maxTokens"),
  },
  temperature: { hint: "T", help: "0 is greedy; default: the model's own", parse: ranged("temperature") },
  "top-p": { hint: "P", help: "sample from the likeliest tokens that make up this share", parse: ranged("topP") },
  "top-k": {
    hint: "K",
    help: "sample from the K likeliest tokens; 0: all",
    parse: ranged("topK"),
  },
  "min-p": { hint: "P", help: "drop tokens less likely than this share of the likeliest", parse: ranged("minP") },
  "repetition-penalty": { hint: "R", help: "over 1: repeat less", parse: ranged("repetitionPenalty") },
  "presence-penalty": { hint: "X", help: "-2 to 2: over 0, say new things", parse: ranged("presencePenalty") },
  "frequency-penalty": { hint: "X", help: "-2 to 2: over 0, repeat words less", parse: ranged("frequencyPenalty") },
  seed: { hint: "N", help: "the same seed gives the same answers", parse: anyInteger },
} as const;

export type ChatOptionName = keyof typeof CHAT_OPTIONS;
export const CHAT_OPTION_NAMES = Object.keys(CHAT_OPTIONS) as ChatOptionName[];

/** `top-p`, `top_p` and `TOP_P` are one name. Throws ConfigError for what is none. */
export function chatOptionName(typed: string): ChatOptionName {
  const name = typed.toLowerCase().replaceAll("_", "-");
  const known = CHAT_OPTION_NAMES.find((option) => option === name);
  if (known !== undefined) return known;
  const meant = nearestName(name, CHAT_OPTION_NAMES);
  throw new ConfigError(
    meant === undefined
      ? `there is no option '${typed}'; there are ${CHAT_OPTION_NAMES.join(", ")}`
      : `there is no option '${typed}'. Did you mean ${meant}?`,
  );
}

/** Throws ConfigError that says what would have been right. */
export function parseChatOption(name: ChatOptionName, value: string): number {
  return CHAT_OPTIONS[name].parse(value);
}

/** The request's field of an option. */
export function fieldOf(name: ChatOptionName): string {
  return name.replaceAll("-", "_");
}

/** The options as --help and /help show them. */
export function chatOptionsHelp(prefix: string, width: number): string {
  return CHAT_OPTION_NAMES.map((name) => {
    const { hint, help } = CHAT_OPTIONS[name];
    return `  ${`${prefix}${name} ${hint}`.padEnd(width)}${help}`;
  }).join("\n");
}
