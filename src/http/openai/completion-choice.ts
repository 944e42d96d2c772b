import type { GenerateEvent, TokenLogprob } from "../../core/generate.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { CompletionsRequest } from "./decode-completions.ts";
import { CompletionLogprobs, type ScoredToken } from "./logprobs.ts";

/** What one event adds to a choice. */
export interface CompletionPart {
  text: string;
  /** Null where no logprobs are to be shown. */
  tokens: readonly ScoredToken[] | null;
  /** Of the output, where they are to be shown. */
  tokenIds?: readonly number[];
}

/** One choice of a completions request, from its first part (an echoed prompt) to its last. Shared by both response forms. */
export class CompletionChoice {
  private readonly logprobs: CompletionLogprobs;
  private readonly withLogprobs: boolean;

  constructor(
    private readonly completions: CompletionsRequest,
    private readonly prompt: number,
    tokenizer: Tokenizer,
  ) {
    const request = completions.requests[prompt]!;
    this.withLogprobs = request.sampling.logprobs !== undefined;
    this.logprobs = new CompletionLogprobs(tokenizer, request, completions.echo?.[prompt]);
  }

  /** The echoed prompt; undefined where none is asked for. */
  echo(promptLogprobs: ReadonlyArray<TokenLogprob | null> | undefined): CompletionPart | undefined {
    const echoed = this.completions.echo?.[this.prompt];
    if (echoed === undefined) return undefined;
    if (!this.withLogprobs) return { text: echoed.text, tokens: null };
    return { text: echoed.text, tokens: Array.from(echoed.ids, (id, i) => promptLogprobs?.[i] ?? id) };
  }

  /** A delta; undefined where there is nothing to show yet. */
  delta(event: Extract<GenerateEvent, { type: "text-delta" }>): CompletionPart | undefined {
    const { promptOnly, returnTokenIds } = this.completions;
    if (promptOnly) return undefined;
    const tokens = (this.withLogprobs && event.logprobs) || null;
    if (returnTokenIds) return { text: event.text, tokens, tokenIds: event.tokenIds };
    return event.text === "" && tokens === null ? undefined : { text: event.text, tokens };
  }

  /** The pieces of the JSON text of `logprobs` for the next tokens of this choice. */
  *logprobsJson(tokens: readonly ScoredToken[] | null): Generator<string> {
    if (tokens === null) yield "null";
    else yield* this.logprobs.json(tokens);
  }
}
