import type { Limits } from "../../config/limits.ts";
import { reflected } from "../../core/reflected.ts";
import type { ChatMessage } from "../../text/chat.ts";
import { type Fields, fieldsOf, invalidField, wrongType } from "../fields.ts";
import { named } from "./decode-sampling.ts";
import { ToolCallDecoder } from "./decode-tools.ts";
import { unsupported } from "./refuse-unsupported.ts";

/** Reads `messages`. Throws ServeError invalid_argument with the path of what is wrong. */
export function decodeMessages(fields: Fields, limits: Limits): ChatMessage[] {
  const messages = fields.array("messages");
  if (messages === undefined) throw fields.missing("messages");
  if (messages.length === 0) {
    throw invalidField("messages", "'messages' must hold at least one message.", "invalid_value");
  }
  if (messages.length > limits.maxMessages) {
    throw invalidField("messages", `At most ${limits.maxMessages} messages are allowed.`, "invalid_value");
  }
  const toolCalls = new ToolCallDecoder(limits);
  return messages.map((message, i) => decodeMessage(fieldsOf(message, `messages[${i}]`), toolCalls));
}

function decodeMessage(fields: Fields, decoder: ToolCallDecoder): ChatMessage {
  const role = fields.requiredString("role");
  if (role === "") throw invalidField(fields.param("role"), "A message must have a role.", "invalid_value");
  for (const name of ["function_call", "audio"]) {
    if (fields.raw(name) !== undefined) throw unsupported(fields.param(name));
  }
  // The last message as the beginning of the answer.
  if (fields.boolean("prefix") === true) throw unsupported(fields.param("prefix"));
  return {
    // OpenAI's newer name for the same role; chat templates know only the older.
    role: role === "developer" ? "system" : role,
    content: decodeContent(fields, role),
    ...named({
      name: fields.string("name"),
      tool_calls: decoder.decode(fields, role),
      tool_call_id: role === "tool" ? fields.requiredString("tool_call_id") : undefined,
      reasoning_content: fields.string("reasoning_content") ?? fields.string("reasoning"),
    }),
  };
}

/** A string, or text parts, which are joined by newlines as in vLLM. Only an assistant's may be absent (it called, or refused). */
function decodeContent(fields: Fields, role: string): string {
  const content = fields.raw("content");
  const param = fields.param("content");
  if (typeof content === "string") return content;
  if (content === undefined) {
    if (role === "assistant") return fields.string("refusal") ?? "";
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
