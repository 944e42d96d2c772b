import type { GenerateEvent } from "../../core/generate.ts";
import type { ChatRequest } from "./chat-completions.ts";
import { chatLogprob } from "./logprobs.ts";
import { envelope, type ResponseShape } from "./response-shape.ts";
import type { ChunkEncoder } from "./streamed.ts";
import { RunningUsage, UsageCounter } from "./usage.ts";

/** `chat.completion.chunk` events. What never changes is serialised once: a token costs one JSON.stringify of its text. */
export class ChatChunks implements ChunkEncoder {
  readonly usage = new UsageCounter();
  private readonly running: RunningUsage;
  private readonly envelope: string;
  /** Up to the choice's index, and after the choice where that is always the same. */
  private readonly head: string;
  private readonly fixedTail: string | undefined;
  private readonly begun = new Set<number>();

  constructor(
    shape: ResponseShape,
    private readonly chat: ChatRequest,
  ) {
    this.usage.prompt(chat.request.promptTokenIds.length);
    this.running = new RunningUsage(chat);
    this.envelope = `data: ${envelope("chat.completion.chunk", shape)}`;
    this.head = `${this.envelope},"choices":[{"index":`;
    const { fixed } = this.running;
    this.fixedTail = fixed === undefined ? undefined : `}]${fixed}}\n\n`;
  }

  event(event: GenerateEvent): string {
    this.usage.event(event);
    if (event.type === "prompt") return "";
    const first = this.begun.has(event.index) ? "" : this.begin(event.index);
    if (event.type === "end") return first + this.finish(event);
    const { index, text, logprobs, tokenIds } = event;
    const { returnTokenIds } = this.chat;
    this.running.add(index, tokenIds.length);
    // Bytes of a character or a possible stop string are held back: nothing to tell yet.
    if (text === "" && logprobs === undefined && !returnTokenIds) return first;
    const content = logprobs === undefined ? "null" : this.logprobs(logprobs);
    const delta = JSON.stringify(text);
    const ids = returnTokenIds ? `,"token_ids":[${tokenIds.join(",")}]` : "";
    return `${first}${this.head}${index},"delta":{"content":${delta}},"logprobs":${content},"finish_reason":null${ids}${this.tail(index)}`;
  }

  end(): string {
    if (!this.chat.includeUsage) return "";
    return `${this.envelope},"choices":[],"usage":${JSON.stringify(this.usage)}}\n\n`;
  }

  private begin(index: number): string {
    const { returnTokenIds, request } = this.chat;
    // Once, with the first chunk.
    const ids =
      returnTokenIds && this.begun.size === 0 ? `,"prompt_token_ids":[${request.promptTokenIds.join(",")}]` : "";
    this.begun.add(index);
    const delta = '{"role":"assistant","content":""}';
    return `${this.head}${index},"delta":${delta},"logprobs":null,"finish_reason":null${this.tail(index, ids)}`;
  }

  private finish({ index, finishReason, stopReason }: Extract<GenerateEvent, { type: "end" }>): string {
    const stop = JSON.stringify(stopReason ?? null);
    return `${this.head}${index},"delta":{},"logprobs":null,"finish_reason":"${finishReason}","stop_reason":${stop}${this.tail(index)}`;
  }

  /** What follows the choice. */
  private tail(index: number, ids = ""): string {
    if (this.fixedTail !== undefined && ids === "") return this.fixedTail;
    return `}]${ids}${this.running.json(index, this.chat.request.promptTokenIds.length)}}\n\n`;
  }

  private logprobs(entries: NonNullable<Extract<GenerateEvent, { type: "text-delta" }>["logprobs"]>): string {
    const { tokenizer } = this.chat.model.text;
    return `{"content":${JSON.stringify(entries.map((entry) => chatLogprob(tokenizer, entry)))},"refusal":null}`;
  }
}
