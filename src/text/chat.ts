/** A chat message after validation. Content is text: parts have been joined. */
export interface ChatMessage {
  role: string;
  content: string;
  name?: string;
}

export interface RenderOptions {
  addGenerationPrompt: boolean;
  /** Extra variables for the template (`chat_template_kwargs`). */
  variables?: Record<string, unknown>;
}
