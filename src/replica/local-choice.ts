import type { FinishReason, GenerateRequest, TokenLogprob } from "../core/generate.ts";
import type { SamplingParams } from "../core/sampling-params.ts";
import { FINISH } from "../engine/step-message.ts";
import { TextAssembler } from "../text/text-assembler.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** What tokens turned into. */
export interface ChoiceDelta {
  text: string;
  tokenIds: number[];
  logprobs: TokenLogprob[] | undefined;
  /** Set when the choice has ended. */
  finishReason: FinishReason | undefined;
  stopReason: string | number | undefined;
  /** The text ended it while the engine goes on: it has to be told. */
  stoppedByText: boolean;
}

/** One choice of a request: its text, and every token it has, so that it can go on from them elsewhere. */
export class LocalChoice {
  /** The engine's name for it; changes when it is submitted again. */
  id: number;
  readonly index: number;
  readonly outputTokenIds: number[] = [];
  ended = false;
  readonly #assembler: TextAssembler;
  readonly #sampling: SamplingParams;
  readonly #eosTokenIds: readonly number[];

  constructor(id: number, index: number, request: GenerateRequest, tokenizer: Tokenizer) {
    const { sampling, promptTokenIds } = request;
    this.id = id;
    this.index = index;
    this.#sampling = sampling;
    this.#eosTokenIds = tokenizer.eosTokenIds;
    this.#assembler = new TextAssembler(tokenizer, {
      ...sampling,
      continuesText: !tokenizer.isSpecial(promptTokenIds[promptTokenIds.length - 1]!),
    });
  }

  /** Takes the tokens of a stream begun elsewhere, whose text has been sent. */
  restore(tokenIds: Int32Array): void {
    for (const id of tokenIds) this.outputTokenIds.push(id);
    this.#assembler.restore(tokenIds);
  }

  /** `finish`: a FINISH of the engine's. */
  push(tokenIds: number[], logprobs: TokenLogprob[] | undefined, finish: number): ChoiceDelta {
    // The text of a token that ends the choice is not part of it, unless asked for.
    const hidesLast = finish === FINISH.stop && tokenIds.length > 0 && !this.#sampling.includeStopStrInOutput;
    const shown = hidesLast ? tokenIds.slice(0, -1) : tokenIds;
    const { text, stop, used } = this.#assembler.push(shown);
    const delta: ChoiceDelta = {
      text,
      tokenIds,
      logprobs,
      finishReason: undefined,
      stopReason: undefined,
      stoppedByText: false,
    };
    if (stop !== undefined) {
      delta.tokenIds = tokenIds.slice(0, used);
      delta.logprobs = logprobs?.slice(0, used);
      delta.finishReason = "stop";
      delta.stopReason = stop;
      delta.stoppedByText = finish === FINISH.none;
    } else if (finish !== FINISH.none) {
      delta.text += this.#assembler.flush();
      delta.finishReason = finish === FINISH.stop ? "stop" : "length";
    }
    for (const id of delta.tokenIds) this.outputTokenIds.push(id);
    // A stream moved here already complete ends on a token it had before.
    if (finish === FINISH.stop && stop === undefined) delta.stopReason = this.#stopToken();
    return delta;
  }

  /** The id that ended it, unless it is the model's own end. */
  #stopToken(): number | undefined {
    const last = this.outputTokenIds.at(-1);
    const isEnd = last !== undefined && this.#eosTokenIds.includes(last) && !this.#sampling.ignoreEos;
    return isEnd ? undefined : last;
  }
}
