import { LIMITS } from "../config/limits.ts";
import { ServeError } from "../core/errors.ts";
import type { ChatMessage, RenderOptions } from "./chat.ts";

/** What the template writes around a message and the time it takes, as characters that take as long to encode. */
const MESSAGE_CHARS = 64;

/**
 * How much work a chat is, in characters: everything that it hands to its template (texts, tool calls, extra variables), and
 * MESSAGE_CHARS a message. Throws ServeError invalid_argument for what is nested too deep to be handed to the Worker, or has
 * too many values. Values are JSON's.
 */
export function measureChat(messages: readonly ChatMessage[], { variables }: RenderOptions): number {
  let chars = 0;
  let values = 0;
  const visit = (value: unknown, depth: number, param: string): void => {
    if (depth > LIMITS.maxJsonDepth) throw refusal(param, `nested more than ${LIMITS.maxJsonDepth} levels deep`);
    if (++values > LIMITS.maxTemplateValues) throw refusal(param, `of more than ${LIMITS.maxTemplateValues} values`);
    if (typeof value === "string") {
      chars += value.length;
    } else if (Array.isArray(value)) {
      for (const item of value) visit(item, depth + 1, param);
    } else if (typeof value === "object" && value !== null) {
      for (const [name, item] of Object.entries(value)) {
        chars += name.length;
        visit(item, depth + 1, param);
      }
    }
  };
  for (const { role, content, name = "", tool_call_id = "", reasoning_content = "", tool_calls } of messages) {
    chars += MESSAGE_CHARS + role.length + content.length;
    chars += name.length + tool_call_id.length + reasoning_content.length;
    if (tool_calls !== undefined) visit(tool_calls, 0, "messages");
  }
  if (variables !== undefined) visit(variables, 0, "chat_template_kwargs");
  return chars;
}

function refusal(param: string, what: string): ServeError {
  return new ServeError("invalid_argument", `'${param}' gives the chat template values ${what}.`, {
    param,
    reason: "invalid_value",
  });
}
