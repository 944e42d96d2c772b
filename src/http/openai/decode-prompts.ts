import type { Limits } from "../../config/limits.ts";
import { type Fields, invalidField, wrongType } from "../fields.ts";
import { promptTooLong } from "../prompt-too-long.ts";

/** One prompt of a completions request, and its name in errors. */
export interface PromptInput {
  readonly param: string;
  /** Either is set. */
  readonly text: string | undefined;
  readonly ids: Int32Array | undefined;
}

const EXPECTED = "a string, an array of strings, an array of token ids or an array of such arrays";

/** Reads `prompt`: a string, strings, token ids, or lists of token ids. Throws ServeError invalid_argument. */
export function decodePrompts(fields: Fields, limits: Pick<Limits, "maxPrompts">, maxModelLen: number): PromptInput[] {
  const value = fields.raw("prompt");
  if (value === undefined) throw fields.missing("prompt");
  if (typeof value === "string") return [textPrompt("prompt", value)];
  if (!Array.isArray(value)) throw wrongType("prompt", EXPECTED, value);
  if (value.length === 0) throw invalidField("prompt", "'prompt' must not be empty.", "invalid_value");
  if (typeof value[0] === "number") return [idsPrompt("prompt", value, maxModelLen)];
  if (value.length > limits.maxPrompts) {
    throw invalidField("prompt", `At most ${limits.maxPrompts} prompts are allowed.`, "invalid_value");
  }
  return value.map((item: unknown, i) => {
    const param = `prompt[${i}]`;
    if (typeof item === "string") return textPrompt(param, item);
    if (Array.isArray(item)) return idsPrompt(param, item, maxModelLen);
    throw wrongType(param, "a string or an array of token ids", item);
  });
}

function textPrompt(param: string, text: string): PromptInput {
  return { param, text, ids: undefined };
}

function idsPrompt(param: string, values: readonly unknown[], maxModelLen: number): PromptInput {
  if (values.length >= maxModelLen) throw promptTooLong(param, values.length, maxModelLen);
  values.forEach((value, i) => {
    // The vocabulary is checked later; beyond 32 bits an id would wrap into it.
    if (!Number.isInteger(value)) throw wrongType(`${param}[${i}]`, "a token id", value);
    if ((value as number) < 0 || (value as number) >= 2 ** 31) {
      throw invalidField(`${param}[${i}]`, `Token id ${value} is not in the vocabulary.`, "invalid_value");
    }
  });
  return { param, text: undefined, ids: Int32Array.from(values as number[]) };
}
