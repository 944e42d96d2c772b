import type { GenerateEvent, GenerateRequest, TokenLogprob } from "../../core/generate.ts";
import { CompletionChoice, type CompletionPart } from "./completion-choice.ts";
import type { CompletionsRequest } from "./decode-completions.ts";
import { envelope, type ResponseShape } from "./response-shape.ts";
import type { ChunkEncoder } from "./streamed.ts";
import { RunningUsage, UsageCounter } from "./usage.ts";

/** The first part of a choice that tells of its prompt only. */
const NO_ECHO: CompletionPart = { text: "", tokens: null };

/** `text_completion` events; see ChatChunks for how they stay cheap. */
export class CompletionChunks implements ChunkEncoder {
  readonly usage: UsageCounter;
  private readonly running: RunningUsage;
  private readonly envelope: string;
  private readonly head: string;
  private readonly fixedTail: string | undefined;
  private readonly choices = new Map<number, CompletionChoice>();
  private readonly promptLogprobs: Array<ReadonlyArray<TokenLogprob | null> | undefined> = [];

  constructor(
    shape: ResponseShape,
    private readonly completions: CompletionsRequest,
  ) {
    this.usage = new UsageCounter(completions.promptOnly);
    for (const request of completions.requests) this.usage.prompt(request.promptTokenIds.length);
    this.running = new RunningUsage(completions);
    this.envelope = `data: ${envelope("text_completion", shape)}`;
    this.head = `${this.envelope},"choices":[{"index":`;
    const { fixed } = this.running;
    this.fixedTail = fixed === undefined ? undefined : `}]${fixed}}\n\n`;
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
      if (echo === undefined && !this.completions.returnTokenIds) return this.rest(begun, index, event);
      return this.withPrompt(begun, index, echo ?? NO_ECHO, event);
    }
    return this.rest(choice, index, event);
  }

  end(): string {
    if (!this.completions.includeUsage) return "";
    return `${this.envelope},"choices":[],"usage":${JSON.stringify(this.usage)}}\n\n`;
  }

  /** In pieces: an echoed prompt with logprobs may be long. */
  private *withPrompt(
    choice: CompletionChoice,
    index: number,
    echo: CompletionPart,
    event: Exclude<GenerateEvent, { type: "prompt" }>,
  ): Generator<string> {
    const { returnTokenIds } = this.completions;
    const ids = returnTokenIds ? `,"prompt_token_ids":[${this.requestOf(index).promptTokenIds.join(",")}]` : "";
    yield* this.pieces(choice, index, echo, ids);
    yield this.rest(choice, index, event);
  }

  private rest(choice: CompletionChoice, index: number, event: Exclude<GenerateEvent, { type: "prompt" }>): string {
    if (event.type === "text-delta") {
      if (!this.completions.promptOnly) this.running.add(index, event.tokenIds.length);
      return this.part(choice, index, choice.delta(event));
    }
    const reason = this.completions.promptOnly ? "length" : event.finishReason;
    const stop = JSON.stringify(event.stopReason ?? null);
    return `${this.head}${index},"text":"","logprobs":null,"finish_reason":"${reason}","stop_reason":${stop}${this.tail(index)}`;
  }

  private part(choice: CompletionChoice, index: number, part: CompletionPart | undefined): string {
    if (part === undefined) return "";
    let event = "";
    const ids = part.tokenIds === undefined ? "" : `,"token_ids":[${part.tokenIds.join(",")}]`;
    for (const piece of this.pieces(choice, index, part, ids)) event += piece;
    return event;
  }

  private *pieces(choice: CompletionChoice, index: number, part: CompletionPart, ids: string): Generator<string> {
    yield `${this.head}${index},"text":${JSON.stringify(part.text)},"logprobs":`;
    yield* choice.logprobsJson(part.tokens);
    yield `,"finish_reason":null${ids}${this.tail(index)}`;
  }

  private tail(index: number): string {
    if (this.fixedTail !== undefined) return this.fixedTail;
    return `}]${this.running.json(index, this.requestOf(index).promptTokenIds.length)}}\n\n`;
  }

  private requestOf(index: number): GenerateRequest {
    const { requests } = this.completions;
    return requests[Math.floor(index / requests[0]!.n)]!;
  }
}
