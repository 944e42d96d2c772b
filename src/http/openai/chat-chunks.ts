import type { GenerateEvent, GenerateRequest } from "../../core/generate.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { chatLogprob } from "./logprobs.ts";
import type { ChunkEncoder } from "./streamed.ts";
import { UsageCounter } from "./usage.ts";

/** What all chunks and answers of one HTTP request share. */
export interface ResponseShape {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
}

/** `chat.completion.chunk` events. What never changes is serialised once: a token costs one JSON.stringify of its text. */
export class ChatChunks implements ChunkEncoder {
  readonly usage = new UsageCounter();
  /** Up to the choice's index, and after the choice. */
  private readonly head: string;
  private readonly tail: string;
  private readonly begun = new Set<number>();

  constructor(
    private readonly shape: ResponseShape,
    request: GenerateRequest,
    private readonly tokenizer: Tokenizer,
    private readonly includeUsage: boolean,
  ) {
    this.usage.prompt(request.promptTokenIds.length);
    this.head = `data: ${this.envelope()},"choices":[{"index":`;
    this.tail = `}]${includeUsage ? ',"usage":null' : ""}}\n\n`;
  }

  event(event: GenerateEvent): string {
    this.usage.event(event);
    if (event.type === "prompt") return "";
    const first = this.begun.has(event.index) ? "" : this.begin(event.index);
    if (event.type === "end") return first + this.finish(event);
    const { index, text, logprobs } = event;
    // Bytes of a character or a possible stop string are held back: nothing to tell yet.
    if (text === "" && logprobs === undefined) return first;
    const content = logprobs === undefined ? "null" : this.logprobs(logprobs);
    const delta = JSON.stringify(text);
    return `${first}${this.head}${index},"delta":{"content":${delta}},"logprobs":${content},"finish_reason":null${this.tail}`;
  }

  end(): string {
    if (!this.includeUsage) return "";
    return `data: ${this.envelope()},"choices":[],"usage":${JSON.stringify(this.usage)}}\n\n`;
  }

  private begin(index: number): string {
    this.begun.add(index);
    const delta = '{"role":"assistant","content":""}';
    return `${this.head}${index},"delta":${delta},"logprobs":null,"finish_reason":null${this.tail}`;
  }

  private finish({ index, finishReason, stopReason }: Extract<GenerateEvent, { type: "end" }>): string {
    const stop = JSON.stringify(stopReason ?? null);
    return `${this.head}${index},"delta":{},"logprobs":null,"finish_reason":"${finishReason}","stop_reason":${stop}${this.tail}`;
  }

  private logprobs(entries: NonNullable<Extract<GenerateEvent, { type: "text-delta" }>["logprobs"]>): string {
    return `{"content":${JSON.stringify(entries.map((entry) => chatLogprob(this.tokenizer, entry)))},"refusal":null}`;
  }

  /** The object without its closing brace. */
  private envelope(): string {
    const { id, created, model } = this.shape;
    return `{"id":"${id}","object":"chat.completion.chunk","created":${created},"model":${JSON.stringify(model)}`;
  }
}
