/**
 * Worker entry: renders chat templates and encodes texts, so that neither a long prompt nor a template without end holds
 * up the event loop. Posts "ready" once opened, then answers each request before it takes the next.
 */
import { systemClock } from "../core/clock.ts";
import { BpeTextEncoder } from "./bpe-text-encoder.ts";
import type { ChatMessage, RenderOptions } from "./chat.ts";
import { ChatTemplate, ChatTemplateError } from "./chat-template.ts";
import { encoderMemoryBytes } from "./kitoken-module.ts";
import type { OpenMessage, TextRequest, WorkerMessage } from "./worker-protocol.ts";

declare const self: Worker;

class TokenizerWorker {
  readonly #encoder: BpeTextEncoder;
  readonly #open: OpenMessage;
  /** Read on the first chat: a broken template must not keep completions from being served. */
  #template: ChatTemplate | undefined;

  constructor(open: OpenMessage) {
    this.#open = open;
    this.#encoder = new BpeTextEncoder(open.encoder);
  }

  answer(request: TextRequest): WorkerMessage {
    if (request.type === "encode") return this.#encode(request.text, request.addSpecialTokens, 0);
    const startMs = systemClock.nowMs();
    let text: string;
    try {
      text = this.#render(request.messages, request.options);
    } catch (error) {
      if (error instanceof ChatTemplateError) return { type: "failed", reason: "template", message: error.message };
      throw error;
    }
    if (text.length > this.#open.maxChars) {
      return { type: "failed", reason: "too_long", message: `The rendered chat has ${text.length} characters.` };
    }
    const templateMs = systemClock.nowMs() - startMs;
    post({ type: "rendered", text });
    return this.#encode(text, false, templateMs);
  }

  #render(messages: readonly ChatMessage[], options: RenderOptions): string {
    const { chatTemplate, templateTokens } = this.#open;
    if (chatTemplate === undefined) throw new ChatTemplateError("This model has no chat template.");
    this.#template ??= new ChatTemplate(chatTemplate, templateTokens, this.#open.maxTemplateChars);
    return this.#template.render(messages, options);
  }

  #encode(text: string, addSpecialTokens: boolean, templateMs: number): WorkerMessage {
    try {
      const startMs = systemClock.nowMs();
      const ids = this.#encoder.encode(text, addSpecialTokens);
      const tokeniseMs = systemClock.nowMs() - startMs;
      return { type: "encoded", ids, encoderBytes: encoderMemoryBytes(), templateMs, tokeniseMs };
    } catch (error) {
      // Known cause: a million characters without any boundary, where the split expression gives up.
      return { type: "failed", reason: "encoder", message: String(error) };
    }
  }
}

function post(message: WorkerMessage): void {
  self.postMessage(message, message.type === "encoded" ? [message.ids.buffer] : []);
}

let worker: TokenizerWorker | undefined;

self.onmessage = ({ data }: MessageEvent<OpenMessage | TextRequest>) => {
  if (data.type === "open") {
    worker = new TokenizerWorker(data);
    post({ type: "ready" });
  } else {
    post(worker!.answer(data));
  }
};
