import type { GenerateEvent, TokenLogprob } from "../../core/generate.ts";
import type { ResponseShape } from "./chat-chunks.ts";
import { CompletionChoice, type CompletionPart } from "./completion-choice.ts";
import type { CompletionsRequest } from "./decode-completions.ts";
import type { ChunkEncoder } from "./streamed.ts";
import { UsageCounter } from "./usage.ts";

/** `text_completion` events; see ChatChunks for how they stay cheap. */
export class CompletionChunks implements ChunkEncoder {
  readonly usage: UsageCounter;
  private readonly head: string;
  private readonly tail: string;
  private readonly choices = new Map<number, CompletionChoice>();
  private readonly promptLogprobs: Array<ReadonlyArray<TokenLogprob | null> | undefined> = [];

  constructor(
    private readonly shape: ResponseShape,
    private readonly completions: CompletionsRequest,
  ) {
    this.usage = new UsageCounter(completions.promptOnly);
    for (const request of completions.requests) this.usage.prompt(request.promptTokenIds.length);
    this.head = `data: ${this.envelope()},"choices":[{"index":`;
    this.tail = `}]${completions.includeUsage ? ',"usage":null' : ""}}\n\n`;
  }

  event(event: GenerateEvent, prompt: number): string {
    this.usage.event(event);
    if (event.type === "prompt") {
      this.promptLogprobs[prompt] = event.promptLogprobs;
      return "";
    }
    const index = prompt * this.completions.requests[prompt]!.n + event.index;
    const choice = this.choices.get(index);
    if (choice === undefined) {
      const begun = new CompletionChoice(this.completions, prompt, this.completions.model.text.tokenizer);
      this.choices.set(index, begun);
      return this.part(index, begun.echo(this.promptLogprobs[prompt])) + this.rest(begun, index, event);
    }
    return this.rest(choice, index, event);
  }

  end(): string {
    if (!this.completions.includeUsage) return "";
    return `data: ${this.envelope()},"choices":[],"usage":${JSON.stringify(this.usage)}}\n\n`;
  }

  private rest(choice: CompletionChoice, index: number, event: Exclude<GenerateEvent, { type: "prompt" }>): string {
    if (event.type === "text-delta") return this.part(index, choice.delta(event));
    const reason = this.completions.promptOnly ? "length" : event.finishReason;
    const stop = JSON.stringify(event.stopReason ?? null);
    return `${this.head}${index},"text":"","logprobs":null,"finish_reason":"${reason}","stop_reason":${stop}${this.tail}`;
  }

  private part(index: number, part: CompletionPart | undefined): string {
    if (part === undefined) return "";
    const logprobs = part.logprobs === null ? "null" : JSON.stringify(part.logprobs);
    return `${this.head}${index},"text":${JSON.stringify(part.text)},"logprobs":${logprobs},"finish_reason":null${this.tail}`;
  }

  /** The object without its closing brace. */
  private envelope(): string {
    const { id, created, model } = this.shape;
    return `{"id":"${id}","object":"text_completion","created":${created},"model":${JSON.stringify(model)}`;
  }
}
