import { Detokenizer } from "./detokenizer.ts";
import { StopMatcher } from "./stop-matcher.ts";
import type { StopStrings } from "./stop-strings.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface TextAssemblerOptions {
  readonly stop: StopStrings;
  readonly includeStopStrInOutput: boolean;
  readonly skipSpecialTokens: boolean;
  /**
   * A stop string that one of the first so many tokens completes is let through, as in vLLM: like end tokens, which the
   * sampler masks as long, stop strings end a text with a later token at the earliest.
   */
  readonly minTokens?: number;
  /**
   * The tokens go on from a text: " Paris" after "The capital is" keeps its space, which decode() of a whole text strips
   * where the tokenizer marks words (SentencePiece). Right where the prompt's last token is not a special one.
   */
  readonly continuesText?: boolean;
}

/** The text of one choice as its tokens arrive: detokenised, held back where it may become a stop string, cut there. */
export class TextAssembler {
  readonly #detokenizer: Detokenizer;
  readonly #matcher: StopMatcher;
  readonly #minTokens: number;
  #numTokens = 0;
  /** How many tokens of the last push belong to the output: fewer than given only where a stop string came before the last. */
  used = 0;

  constructor(tokenizer: Tokenizer, options: TextAssemblerOptions) {
    this.#detokenizer = new Detokenizer(tokenizer, options.skipSpecialTokens, options.continuesText);
    this.#minTokens = options.minTokens ?? 0;
    this.#matcher = new StopMatcher(options.stop, options.includeStopStrInOutput);
  }

  /** The stop string that ended the text, once there is one. */
  get stop(): string | undefined {
    return this.#matcher.stop;
  }

  /** The text that may be sent now, of the first `count` tokens. */
  push(tokenIds: ArrayLike<number>, count = tokenIds.length): string {
    let text = "";
    this.used = 0;
    while (this.used < count && this.#matcher.stop === undefined) {
      this.#numTokens++;
      text += this.#matcher.push(this.#detokenizer.push(tokenIds[this.used++]!), this.#mayStop);
    }
    return text;
  }

  get #mayStop(): boolean {
    return this.#numTokens > this.#minTokens;
  }

  /** Takes the tokens of a stream begun elsewhere, whose text was already sent there; what was held back stays so. */
  restore(tokenIds: ArrayLike<number>): void {
    this.push(tokenIds);
  }

  /**
   * The rest of the text when no more tokens come: an unfinished character (as U+FFFD), a stop string that was only begun.
   * Empty after a stop string.
   */
  flush(): string {
    return this.#matcher.push(this.#detokenizer.flush(), this.#mayStop) + this.#matcher.flush();
  }
}
