import type { Limits } from "../../config/limits.ts";
import { reflected } from "../../core/reflected.ts";
import type { ChatMessage } from "../../text/chat.ts";
import { type Fields, fieldsOf, invalidField, wrongType } from "../fields.ts";

/** Reads `messages`. Throws ServeError invalid_argument with the path of what is wrong. */
export function decodeMessages(fields: Fields, limits: Pick<Limits, "maxMessages">): ChatMessage[] {
  const messages = fields.array("messages");
  if (messages === undefined) throw fields.missing("messages");
  if (messages.length === 0) {
    throw invalidField("messages", "'messages' must hold at least one message.", "invalid_value");
  }
  if (messages.length > limits.maxMessages) {
    throw invalidField("messages", `At most ${limits.maxMessages} messages are allowed.`, "invalid_value");
  }
  return messages.map((message, i) => decodeMessage(fieldsOf(message, `messages[${i}]`)));
}

function decodeMessage(fields: Fields): ChatMessage {
  const role = fields.requiredString("role");
  if (role === "") throw invalidField(fields.param("role"), "A message must have a role.", "invalid_value");
  for (const unsupported of ["tool_calls", "function_call", "audio"]) {
    const value = fields.raw(unsupported);
    if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    const param = fields.param(unsupported);
    throw invalidField(param, `'${param}' is not supported by this server yet.`, "unsupported_parameter");
  }
  const name = fields.string("name");
  const content = decodeContent(fields, role);
  return {
    // OpenAI's newer name for the same role; chat templates know only the older.
    role: role === "developer" ? "system" : role,
    content,
    ...(name === undefined ? {} : { name }),
  };
}

/** A string, or text parts, which are joined by newlines as in vLLM. Only an assistant's may be absent. */
function decodeContent(fields: Fields, role: string): string {
  const content = fields.raw("content");
  const param = fields.param("content");
  if (typeof content === "string") return content;
  if (content === undefined) {
    if (role === "assistant") return "";
    throw fields.missing("content");
  }
  if (!Array.isArray(content)) throw wrongType(param, "a string or an array of text parts", content);
  return content.map((part, i) => decodePart(part, `${param}[${i}]`)).join("\n");
}

function decodePart(part: unknown, param: string): string {
  const fields = fieldsOf(part, param);
  const type = fields.requiredString("type");
  if (type === "text") return fields.requiredString("text");
  if (type === "refusal") return fields.requiredString("refusal");
  throw invalidField(
    fields.param("type"),
    `Content of type '${reflected(type)}' is not supported: this server takes text.`,
    "unsupported_parameter",
  );
}
