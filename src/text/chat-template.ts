import { Template } from "@huggingface/jinja";
import { reflected } from "../core/reflected.ts";
import type { ChatMessage, RenderOptions } from "./chat.ts";

/** The template refused the messages (raise_exception) or cannot be read. The message is meant for the client. */
export class ChatTemplateError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ChatTemplateError";
  }
}

/**
 * A model's chat template, rendered as Hugging Face's transformers does: trim_blocks and lstrip_blocks, raise_exception,
 * strftime_now (local time), and the same variables. A template is a program that may run without end: render only where
 * it can be stopped, which is the tokenizer Worker.
 *
 * Messages are not escaped, as nowhere in this ecosystem: a user who writes `<|im_end|>` into a message writes the control
 * token. Callers that mix trust levels in one chat must filter such texts themselves.
 */
export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: Readonly<Record<string, string>>;

  /** tokens: bos_token, eos_token and so on. Throws ChatTemplateError where the source is no Jinja that is understood. */
  constructor(source: string, tokens: Readonly<Record<string, string>>) {
    try {
      this.#template = new Template(source);
    } catch (cause) {
      throw new ChatTemplateError(`The model's chat template cannot be read: ${(cause as Error).message}`);
    }
    this.#tokens = tokens;
  }

  /** Throws ChatTemplateError with the template's own message, which may repeat a client's text, where it refuses the messages. */
  render(messages: readonly ChatMessage[], options: RenderOptions): string {
    try {
      return this.#template.render({
        // transformers always passes these two, and templates ask "tools is not none".
        tools: null,
        documents: null,
        ...this.#tokens,
        ...options.variables,
        messages,
        add_generation_prompt: options.addGenerationPrompt,
      });
    } catch (cause) {
      throw new ChatTemplateError(
        `The chat template cannot render these messages: ${reflected((cause as Error).message)}`,
      );
    }
  }
}
