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

  event(event: GenerateEvent, prompt: number): string | Iterable<string> {
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
      const echo = begun.echo(this.promptLogprobs[prompt]);
      return echo === undefined ? this.rest(begun, index, event) : this.withEcho(begun, index, echo, event);
    }
    return this.rest(choice, index, event);
  }

  end(): string {
    if (!this.completions.includeUsage) return "";
    return `data: ${this.envelope()},"choices":[],"usage":${JSON.stringify(this.usage)}}\n\n`;
  }

  /** In pieces: an echoed prompt with logprobs may be long. */
  private *withEcho(
    choice: CompletionChoice,
    index: number,
    echo: CompletionPart,
    event: Exclude<GenerateEvent, { type: "prompt" }>,
  ): Generator<string> {
    yield* this.pieces(choice, index, echo);
    yield this.rest(choice, index, event);
  }

  private rest(choice: CompletionChoice, index: number, event: Exclude<GenerateEvent, { type: "prompt" }>): string {
    if (event.type === "text-delta") return this.part(choice, index, choice.delta(event));
    const reason = this.completions.promptOnly ? "length" : event.finishReason;
    const stop = JSON.stringify(event.stopReason ?? null);
    return `${this.head}${index},"text":"","logprobs":null,"finish_reason":"${reason}","stop_reason":${stop}${this.tail}`;
  }

  private part(choice: CompletionChoice, index: number, part: CompletionPart | undefined): string {
    if (part === undefined) return "";
    let event = "";
    for (const piece of this.pieces(choice, index, part)) event += piece;
    return event;
  }

  private *pieces(choice: CompletionChoice, index: number, part: CompletionPart): Generator<string> {
    yield `${this.head}${index},"text":${JSON.stringify(part.text)},"logprobs":`;
    yield* choice.logprobsJson(part.tokens);
    yield `,"finish_reason":null${this.tail}`;
  }

  /** The object without its closing brace. */
  private envelope(): string {
    const { id, created, model } = this.shape;
    return `{"id":"${id}","object":"text_completion","created":${created},"model":${JSON.stringify(model)}`;
  }
}
