import type { FinishReason, GenerateEvent, TokenLogprob } from "../../core/generate.ts";
import { CompletionChoice } from "./completion-choice.ts";
import type { CompletionsRequest } from "./decode-completions.ts";
import { jsonList, vllmPromptLogprobJson } from "./logprobs.ts";
import { envelope, type ResponseShape } from "./response-shape.ts";
import { UsageCounter } from "./usage.ts";

class GatheredChoice {
  text = "";
  readonly tokens: TokenLogprob[] = [];
  readonly tokenIds: number[] = [];
  finishReason: FinishReason | null = null;
  stopReason: string | number | null = null;

  constructor(readonly choice: CompletionChoice) {}
}

/** A `text_completion` object, gathered from the events of all prompts. Choice = prompt * n + its own index. */
export class CompletionAnswer {
  readonly usage: UsageCounter;
  private readonly choices: GatheredChoice[];
  private readonly promptLogprobs: Array<ReadonlyArray<TokenLogprob | null> | undefined> = [];

  constructor(
    private readonly shape: ResponseShape,
    private readonly completions: CompletionsRequest,
  ) {
    this.usage = new UsageCounter(completions.promptOnly);
    const { tokenizer } = completions.model.text;
    this.choices = completions.requests.flatMap((request, prompt) => {
      this.usage.prompt(request.promptTokenIds.length);
      return Array.from(
        { length: request.n },
        () => new GatheredChoice(new CompletionChoice(completions, prompt, tokenizer)),
      );
    });
  }

  event(event: GenerateEvent, prompt: number): undefined {
    this.usage.event(event);
    if (event.type === "prompt") {
      this.promptLogprobs[prompt] = event.promptLogprobs;
      return;
    }
    const gathered = this.choices[prompt * this.completions.requests[prompt]!.n + event.index]!;
    if (event.type === "text-delta") {
      const part = gathered.choice.delta(event);
      gathered.text += part?.text ?? "";
      if (part?.tokenIds) for (const id of part.tokenIds) gathered.tokenIds.push(id);
      if (part?.tokens && event.logprobs !== undefined) for (const entry of event.logprobs) gathered.tokens.push(entry);
    } else {
      gathered.finishReason = this.completions.promptOnly ? "length" : event.finishReason;
      gathered.stopReason = event.stopReason ?? null;
    }
  }

  /** The pieces of its text. */
  *json(): Generator<string> {
    yield `${envelope("text_completion", this.shape)},"choices":[`;
    for (const [index, gathered] of this.choices.entries()) {
      if (index > 0) yield ",";
      yield* this.choiceJson(index, gathered);
    }
    yield `],"usage":${JSON.stringify(this.usage)}}`;
  }

  private *choiceJson(index: number, { choice, text, tokens, ...gathered }: GatheredChoice): Generator<string> {
    const { completions } = this;
    const { n, sampling } = completions.requests[0]!;
    const prompt = Math.floor(index / n);
    const promptLogprobs = this.promptLogprobs[prompt];
    const echo = choice.echo(promptLogprobs);
    yield `{"index":${index},"text":${JSON.stringify((echo?.text ?? "") + text)},"logprobs":`;
    const shown = echo?.tokens ? [...echo.tokens, ...tokens] : tokens;
    yield* choice.logprobsJson(sampling.logprobs === undefined ? null : shown);
    // What was found to end it is vLLM's addition.
    yield `,"finish_reason":${JSON.stringify(gathered.finishReason)},"stop_reason":${JSON.stringify(gathered.stopReason)}`;
    if (completions.showPromptLogprobs && promptLogprobs !== undefined) {
      const { tokenizer } = completions.model.text;
      yield ',"prompt_logprobs":';
      yield* jsonList(promptLogprobs, (entry) => vllmPromptLogprobJson(tokenizer, entry));
    }
    if (completions.returnTokenIds) {
      yield ',"prompt_token_ids":';
      yield* jsonList(completions.requests[prompt]!.promptTokenIds, String);
      yield ',"token_ids":';
      yield* jsonList(gathered.tokenIds, String);
    }
    yield "}";
  }
}
