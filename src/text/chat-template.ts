import { Template } from "@huggingface/jinja";
import { LIMITS } from "../config/limits.ts";
import { reflected } from "../core/reflected.ts";
import { BoundedInterpreter } from "./bounded-interpreter.ts";
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
 * it can be stopped, which is the tokenizer Worker. What it builds is bounded here.
 *
 * Messages are not escaped, as nowhere in this ecosystem: a user who writes `<|im_end|>` into a message writes the control
 * token. Callers that mix trust levels in one chat must filter such texts themselves.
 */
export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: Readonly<Record<string, string>>;
  readonly #maxChars: number;

  /**
   * tokens: bos_token, eos_token and so on. maxChars: of all that one rendering may build on its way. Throws
   * ChatTemplateError where the source is no Jinja that is understood.
   */
  constructor(source: string, tokens: Readonly<Record<string, string>>, maxChars: number = LIMITS.maxTemplateChars) {
    try {
      this.#template = new Template(source);
    } catch (cause) {
      throw new ChatTemplateError(`The model's chat template cannot be read: ${(cause as Error).message}`);
    }
    this.#tokens = tokens;
    this.#maxChars = maxChars;
  }

  /** Throws ChatTemplateError with the template's own message, which may repeat a client's text, where it refuses the messages. */
  render(messages: readonly ChatMessage[], options: RenderOptions): string {
    try {
      const variables = {
        // transformers always passes these two, and templates ask "tools is not none".
        tools: null,
        documents: null,
        ...this.#tokens,
        ...options.variables,
        messages,
        add_generation_prompt: options.addGenerationPrompt,
      };
      const interpreter = new BoundedInterpreter(variables, this.#maxChars);
      return interpreter.run(this.#template.parsed).value as string;
    } catch (cause) {
      throw new ChatTemplateError(
        `The chat template cannot render these messages: ${reflected((cause as Error).message)}`,
      );
    }
  }
}
