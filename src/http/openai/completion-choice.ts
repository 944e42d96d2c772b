import type { GenerateEvent, TokenLogprob } from "../../core/generate.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { CompletionsRequest } from "./decode-completions.ts";
import { CompletionLogprobs, CompletionLogprobsBuilder } from "./logprobs.ts";

/** What one event adds to a choice. */
export interface CompletionPart {
  text: string;
  logprobs: CompletionLogprobs | null;
}

/** One choice of a completions request, from its first part (an echoed prompt) to its last. Shared by both response forms. */
export class CompletionChoice {
  private readonly builder: CompletionLogprobsBuilder;
  private readonly withLogprobs: boolean;

  constructor(
    private readonly completions: CompletionsRequest,
    private readonly prompt: number,
    tokenizer: Tokenizer,
  ) {
    const { sampling } = completions.requests[prompt]!;
    this.withLogprobs = sampling.logprobs !== undefined;
    this.builder = new CompletionLogprobsBuilder(tokenizer, sampling.skipSpecialTokens);
  }

  /** The echoed prompt; undefined where none is asked for. */
  echo(promptLogprobs: ReadonlyArray<TokenLogprob | null> | undefined): CompletionPart | undefined {
    const echoed = this.completions.echo?.[this.prompt];
    if (echoed === undefined) return undefined;
    if (!this.withLogprobs) return { text: echoed.text, logprobs: null };
    const logprobs = new CompletionLogprobs();
    for (const [i, id] of echoed.ids.entries()) this.builder.add(logprobs, id, promptLogprobs?.[i] ?? null);
    return { text: echoed.text, logprobs };
  }

  /** A delta; undefined where there is nothing to show yet. */
  delta(event: Extract<GenerateEvent, { type: "text-delta" }>): CompletionPart | undefined {
    if (this.completions.promptOnly) return undefined;
    if (!this.withLogprobs || event.logprobs === undefined) {
      return event.text === "" ? undefined : { text: event.text, logprobs: null };
    }
    const logprobs = new CompletionLogprobs();
    for (const entry of event.logprobs) this.builder.add(logprobs, entry.tokenId, entry);
    return { text: event.text, logprobs };
  }
}
