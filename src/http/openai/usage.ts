import type { GenerateEvent } from "../../core/generate.ts";

/** Counts tokens over all prompts and choices of one HTTP request. */
export class UsageCounter {
  private promptTokens = 0;
  private completionTokens = 0;
  private cachedTokens = 0;

  /** `promptOnly`: the output is not shown, so it is not counted either. */
  constructor(private readonly promptOnly = false) {}

  prompt(tokens: number): void {
    this.promptTokens += tokens;
  }

  event(event: GenerateEvent): void {
    if (event.type === "prompt") this.cachedTokens += event.cachedTokens;
    else if (event.type === "end" && !this.promptOnly) this.completionTokens += event.usage.completionTokens;
  }

  /** OpenAI's `usage`. */
  toJSON() {
    return {
      prompt_tokens: this.promptTokens,
      total_tokens: this.promptTokens + this.completionTokens,
      completion_tokens: this.completionTokens,
      prompt_tokens_details: { cached_tokens: this.cachedTokens },
    };
  }
}
