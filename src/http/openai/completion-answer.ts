import type { FinishReason, GenerateEvent, TokenLogprob } from "../../core/generate.ts";
import type { ResponseShape } from "./chat-chunks.ts";
import { CompletionChoice, type CompletionPart } from "./completion-choice.ts";
import type { CompletionsRequest } from "./decode-completions.ts";
import { CompletionLogprobs, vllmPromptLogprobs } from "./logprobs.ts";
import { UsageCounter } from "./usage.ts";

class GatheredChoice {
  text = "";
  readonly logprobs = new CompletionLogprobs();
  finishReason: FinishReason | null = null;
  stopReason: string | number | null = null;
  begun = false;

  constructor(readonly choice: CompletionChoice) {}

  add(part: CompletionPart | undefined): void {
    if (part === undefined) return;
    this.text += part.text;
    if (part.logprobs === null) return;
    for (const [name, list] of Object.entries(this.logprobs)) {
      for (const item of part.logprobs[name as keyof CompletionLogprobs]) list.push(item);
    }
  }
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
    if (!gathered.begun) {
      gathered.begun = true;
      gathered.add(gathered.choice.echo(this.promptLogprobs[prompt]));
    }
    if (event.type === "text-delta") {
      gathered.add(gathered.choice.delta(event));
    } else {
      gathered.finishReason = this.completions.promptOnly ? "length" : event.finishReason;
      gathered.stopReason = event.stopReason ?? null;
    }
  }

  toJSON() {
    const { completions } = this;
    const { n, sampling } = completions.requests[0]!;
    const { tokenizer } = completions.model.text;
    return {
      id: this.shape.id,
      object: "text_completion",
      created: this.shape.created,
      model: this.shape.model,
      choices: this.choices.map((gathered, index) => {
        const promptLogprobs = this.promptLogprobs[Math.floor(index / n)];
        return {
          index,
          text: gathered.text,
          logprobs: sampling.logprobs === undefined ? null : gathered.logprobs,
          finish_reason: gathered.finishReason,
          // vLLM's additions.
          stop_reason: gathered.stopReason,
          ...(completions.showPromptLogprobs && promptLogprobs !== undefined
            ? { prompt_logprobs: vllmPromptLogprobs(tokenizer, promptLogprobs) }
            : {}),
        };
      }),
      usage: this.usage,
    };
  }
}
