import { LIMITS } from "../../config/limits.ts";
import { ServeError } from "../../core/errors.ts";
import type { ServedModel } from "../../gateway/gateway.ts";
import type {
  ChatMessage as ChatMessageMessage,
  ChatPrompt,
  GenerateRequest,
  TokenizeRequest,
} from "../../gen/scalellm/v1/inference_pb.ts";
import type { ChatMessage, ToolCall } from "../../text/chat.ts";

export interface ResolvedPrompt {
  ids: Int32Array;
  text: string | undefined;
}

/** Whose prompt it is, and how long they wait for it. */
export interface PromptCaller {
  readonly tenant: string;
  readonly signal: AbortSignal;
}

/** Either message's oneof: text, chat or (where the message has it) token ids. */
type PromptInput = GenerateRequest["prompt"] | TokenizeRequest["input"];

/** Tokenises a request's prompt. Throws ServeError invalid_argument when there is none; `field` names the oneof. */
export async function resolvePrompt(
  input: PromptInput,
  addSpecialTokens: boolean,
  model: ServedModel,
  caller: PromptCaller,
  field: "prompt" | "input",
): Promise<ResolvedPrompt> {
  switch (input.case) {
    case "text":
      return {
        ids: await model.text.encode(input.value, addSpecialTokens, caller.signal, caller.tenant),
        text: input.value,
      };
    case "tokenIds":
      return { ids: Int32Array.from(input.value.ids), text: undefined };
    case "chat":
      return resolveChat(input.value, model, caller);
    default:
      throw new ServeError("invalid_argument", `One of '${field}' is required.`, { param: field, reason: "missing" });
  }
}

async function resolveChat(
  chat: ChatPrompt,
  model: ServedModel,
  { signal, tenant }: PromptCaller,
): Promise<ResolvedPrompt> {
  if (!model.text.hasChatTemplate) {
    throw new ServeError(
      "invalid_argument",
      `The model '${model.name}' has no chat template; send text or token ids.`,
      {
        param: "chat",
        reason: "no_chat_template",
      },
    );
  }
  const count = chat.messages.length;
  if (count === 0 || count > LIMITS.maxMessages) {
    throw new ServeError("invalid_argument", `A chat must have between 1 and ${LIMITS.maxMessages} messages.`, {
      param: "messages",
      reason: "invalid_value",
    });
  }
  const messages = chat.messages.map(toChatMessage);
  const options = {
    addGenerationPrompt: chat.addGenerationPrompt ?? true,
    ...(chat.templateVariables === undefined ? {} : { variables: chat.templateVariables }),
  };
  return model.text.encodeChat(messages, options, signal, tenant);
}

function toChatMessage(message: ChatMessageMessage, index: number): ChatMessage {
  const { role, content, name, toolCallId, reasoningContent } = message;
  const invalid = (field: string, text: string, reason: string) =>
    new ServeError("invalid_argument", text, { param: `messages[${index}].${field}`, reason });
  if (role === "") throw invalid("role", "A message must have a role.", "missing");
  if (message.toolCalls.length > 0 && role !== "assistant") {
    throw invalid("tool_calls", "Only an assistant's message can have tool calls.", "invalid_value");
  }
  const toolCalls = message.toolCalls.map((call, i): ToolCall => {
    if (call.name === "") throw invalid(`tool_calls[${i}].name`, "A call must name its tool.", "missing");
    return { id: call.id, type: "function", function: { name: call.name, arguments: call.arguments ?? {} } };
  });
  return {
    role,
    content,
    ...(name === undefined ? {} : { name }),
    ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls }),
    ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
    ...(reasoningContent === undefined ? {} : { reasoning_content: reasoningContent }),
  };
}
