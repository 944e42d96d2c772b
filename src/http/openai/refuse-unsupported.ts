import { type Fields, invalidField } from "../fields.ts";

/** Values that ask for what a request without the field gets anyway. */
type Harmless = (value: unknown) => boolean;

const never: Harmless = () => false;
const whenFalse: Harmless = (value) => value === false;
const whenEmpty: Harmless = (value) => Array.isArray(value) && value.length === 0;

/**
 * Parameters whose meaning would change the answer, and that this server does not have. Ignoring one would give a wrong
 * result in silence; fields not listed anywhere are ignored.
 */
const UNSUPPORTED: Readonly<Record<string, Harmless>> = {
  tools: whenEmpty,
  functions: whenEmpty,
  function_call: (value) => value === "none",
  tool_choice: (value) => value === "none" || value === "auto",
  response_format: (value) => (value as { type?: unknown }).type === "text",
  modalities: (value) => Array.isArray(value) && value.length === 1 && value[0] === "text",
  audio: never,
  web_search_options: never,
  suffix: (value) => value === "",
  use_beam_search: whenFalse,
  structured_outputs: never,
  guided_json: never,
  guided_regex: never,
  guided_choice: never,
  guided_grammar: never,
  continue_final_message: whenFalse,
  chat_template: never,
};

/** Throws ServeError invalid_argument for a parameter that cannot be honoured. */
export function refuseUnsupported(fields: Fields): void {
  for (const [name, harmless] of Object.entries(UNSUPPORTED)) {
    const value = fields.raw(name);
    if (value === undefined || harmless(value)) continue;
    throw invalidField(name, `'${name}' is not supported by this server yet.`, "unsupported_parameter");
  }
}
