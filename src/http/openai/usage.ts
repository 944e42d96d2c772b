import type { GenerateEvent } from "../../core/generate.ts";
import type { StreamOptions } from "./decode-sampling.ts";

/** Usage in the middle of a stream: null where it is asked for at the end only, and then of the choice that a chunk is of. */
export class RunningUsage {
  /** Output tokens by choice. */
  private readonly counts: number[] = [];
  /** The JSON member, with a comma before it, where it is the same in every chunk; "" where there is none. */
  readonly fixed: string | undefined;

  constructor(options: Pick<StreamOptions, "includeUsage" | "continuousUsage">) {
    this.fixed = options.continuousUsage ? undefined : options.includeUsage ? ',"usage":null' : "";
  }

  add(choice: number, tokens: number): void {
    if (this.fixed === undefined) this.counts[choice] = (this.counts[choice] ?? 0) + tokens;
  }

  json(choice: number, promptTokens: number): string {
    if (this.fixed !== undefined) return this.fixed;
    const tokens = this.counts[choice] ?? 0;
    const total = promptTokens + tokens;
    return `,"usage":{"prompt_tokens":${promptTokens},"total_tokens":${total},"completion_tokens":${tokens}}`;
  }
}

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
