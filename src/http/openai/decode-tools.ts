import type { Limits } from "../../config/limits.ts";
import type { ToolCall } from "../../text/chat.ts";
import { type Fields, fieldsOf, invalidField } from "../fields.ts";
import { JsonScanner, restJsonBounds } from "../json-bounds.ts";
import { wellFormed } from "../well-formed.ts";
import { unsupported } from "./refuse-unsupported.ts";

/**
 * The tools that the template is to show, as it expects them; undefined where there are none. Only tools that the model is
 * not to call are accepted: it sees them as in OpenAI's API and vLLM, since a conversation may be about their answers.
 * Calling them is not supported yet. Throws ServeError invalid_argument.
 */
export function decodeTools(fields: Fields): object[] | undefined {
  const shown: object[] = [];
  for (const [listName, choiceName] of [
    ["tools", "tool_choice"],
    ["functions", "function_call"],
  ] as const) {
    const choice = fields.raw(choiceName);
    if (choice !== undefined && choice !== "none" && choice !== "auto") throw unsupported(choiceName);
    const tools = fields.array(listName) ?? [];
    if (tools.length > 0 && choice !== "none") throw unsupported(listName);
    for (const [i, tool] of tools.entries()) {
      const given = fieldsOf(tool, `${listName}[${i}]`);
      if (listName === "functions") given.requiredString("name");
      else if (given.requiredString("type") === "function") requiredFields(given, "function").requiredString("name");
      // OpenAI's older form; templates know only the newer.
      shown.push(listName === "functions" ? { type: "function", function: given.toObject() } : given.toObject());
    }
  }
  return shown.length === 0 ? undefined : shown;
}

/** Reads the tool calls of a conversation's past. One a request: their arguments share the bounds of one JSON text. */
export class ToolCallDecoder {
  private readonly scanner: JsonScanner;

  constructor(limits: Limits) {
    this.scanner = new JsonScanner(restJsonBounds(limits));
  }

  /** Undefined where the message has none. Throws ServeError invalid_argument with the path of what is wrong. */
  decode(message: Fields, role: string): ToolCall[] | undefined {
    const calls = message.array("tool_calls");
    if (calls === undefined || calls.length === 0) return undefined;
    const param = message.param("tool_calls");
    if (role !== "assistant") {
      throw invalidField(param, "Only an assistant's message can have tool calls.", "invalid_value");
    }
    return calls.map((call, i) => this.call(fieldsOf(call, `${param}[${i}]`)));
  }

  private call(fields: Fields): ToolCall {
    const type = fields.string("type") ?? "function";
    if (type !== "function") throw unsupported(fields.param("type"));
    const id = fields.requiredString("id");
    const called = requiredFields(fields, "function");
    return { id, type, function: { name: called.requiredString("name"), arguments: this.arguments(called) } };
  }

  /** As templates expect them, and transformers and vLLM give them: an object, which OpenAI writes as a string of JSON. */
  private arguments(called: Fields): Record<string, unknown> {
    const value = called.raw("arguments");
    if (value === undefined || value === "") return {};
    const param = called.param("arguments");
    if (typeof value !== "string") return fieldsOf(value, param).toObject();
    this.scanner.push(new TextEncoder().encode(value));
    let parsed: unknown;
    try {
      parsed = JSON.parse(value);
    } catch {
      throw invalidField(param, `'${param}' must be JSON.`, "invalid_value");
    }
    return wellFormed(fieldsOf(parsed, param).toObject());
  }
}

function requiredFields(fields: Fields, name: string): Fields {
  const value = fields.fields(name);
  if (value === undefined) throw fields.missing(name);
  return value;
}
