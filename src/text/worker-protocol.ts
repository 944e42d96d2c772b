import type { ChatMessage, RenderOptions } from "./chat.ts";
import type { TextTimings } from "./text-service.ts";
import type { EncoderDefinition } from "./tokenizer-definition.ts";

/** What passes between text/worker-lane.ts and text/tokenizer-worker.ts: one request at a time. */

export interface OpenMessage {
  readonly type: "open";
  readonly encoder: EncoderDefinition;
  readonly chatTemplate: string | undefined;
  readonly templateTokens: Readonly<Record<string, string>>;
  /** Rendered chats longer than this are refused, not encoded. */
  readonly maxChars: number;
  /** All that a template builds for one chat. */
  readonly maxTemplateChars: number;
}

export type TextRequest =
  | { readonly type: "encode"; readonly text: string; readonly addSpecialTokens: boolean }
  | { readonly type: "chat"; readonly messages: readonly ChatMessage[]; readonly options: RenderOptions };

export type WorkerMessage =
  | { readonly type: "ready" }
  /** The template has run; encoding begins, under a deadline of its own. */
  | { readonly type: "rendered"; readonly text: string }
  /** encoderBytes: memory that the encoder holds, which never shrinks. */
  | ({ readonly type: "encoded"; readonly ids: Int32Array<ArrayBuffer>; readonly encoderBytes: number } & TextTimings)
  | { readonly type: "failed"; readonly reason: FailureReason; readonly message: string };

/** template: refused by it. too_long: rendered beyond maxChars. encoder: the encoder gave up, and is not used again. */
export type FailureReason = "template" | "too_long" | "encoder";
