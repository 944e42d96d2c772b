import { Detokenizer } from "./detokenizer.ts";
import { StopMatcher } from "./stop-matcher.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface TextAssemblerOptions {
  readonly stop: readonly string[];
  readonly includeStopStrInOutput: boolean;
  readonly skipSpecialTokens: boolean;
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

  constructor(tokenizer: Tokenizer, options: TextAssemblerOptions) {
    this.#detokenizer = new Detokenizer(tokenizer, options.skipSpecialTokens, options.continuesText);
    this.#matcher = new StopMatcher(options.stop, options.includeStopStrInOutput);
  }

  /**
   * text: what may be sent now. stop: the stop string that ended the text, from the push that found it on.
   * used: how many of the tokens belong to the output; fewer than given only where a stop string came before the last.
   */
  push(tokenIds: ArrayLike<number>): { text: string; stop: string | undefined; used: number } {
    let text = "";
    for (let i = 0; i < tokenIds.length; i++) {
      if (this.#matcher.stop !== undefined) return { text, stop: this.#matcher.stop, used: i };
      text += this.#matcher.push(this.#detokenizer.push(tokenIds[i]!)).text;
    }
    return { text, stop: this.#matcher.stop, used: tokenIds.length };
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
    const { text } = this.#matcher.push(this.#detokenizer.flush());
    return text + this.#matcher.flush();
  }
}
