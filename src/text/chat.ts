/** A chat message after validation. Content is text: parts have been joined. */
export interface ChatMessage {
  role: string;
  content: string;
  name?: string;
  // As templates know them.
  tool_calls?: readonly ToolCall[];
  /** Of a tool's message: the call that it answers. */
  tool_call_id?: string;
  reasoning_content?: string;
}

/** A call that the assistant made. */
export interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
}

export interface RenderOptions {
  addGenerationPrompt: boolean;
  /** Extra variables for the template (`chat_template_kwargs`). */
  variables?: Record<string, unknown>;
}
