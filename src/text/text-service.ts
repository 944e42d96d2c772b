import type { ChatMessage, RenderOptions } from "./chat.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How long a text took in the Worker. */
export interface TextTimings {
  /** 0 where there was no template to render. */
  readonly templateMs: number;
  readonly tokeniseMs: number;
}

export interface EncodedChat extends TextTimings {
  readonly text: string;
  readonly ids: Int32Array;
}

/**
 * What the HTTP layer needs of a served model's text side. Encoding and rendering run in the tokenizer Worker, so that a
 * long prompt never blocks the event loop; decoding is cheap and runs where it is called.
 */
export interface TextService {
  readonly tokenizer: Tokenizer;
  readonly hasChatTemplate: boolean;
  /** False while texts cannot be tokenised: no Worker lives, or texts wait and none gets done. */
  readonly ready: boolean;
  /**
   * Rejects with ServeError: invalid_argument when the text is too long to tokenise within the limits, overloaded when
   * too many wait. Waiting is fair between tenants; an aborted signal frees the text's place at once.
   */
  encode(text: string, addSpecialTokens: boolean, signal?: AbortSignal, tenant?: string): Promise<Int32Array>;
  /** Renders the chat template and encodes the result without adding special tokens. */
  encodeChat(
    messages: readonly ChatMessage[],
    options: RenderOptions,
    signal?: AbortSignal,
    tenant?: string,
  ): Promise<EncodedChat>;
  close(): Promise<void>;
}
