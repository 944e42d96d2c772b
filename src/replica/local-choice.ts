import type { FinishReason, GenerateEvent, GenerateRequest, TokenLogprob } from "../core/generate.ts";
import type { SamplingParams } from "../core/sampling-params.ts";
import { FINISH } from "../engine/step-message.ts";
import type { StopStrings } from "../text/stop-strings.ts";
import { TextAssembler } from "../text/text-assembler.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

type TextDelta = Extract<GenerateEvent, { type: "text-delta" }>;

/** One choice of a request: its text, and every token it has, so that it can go on from them elsewhere. */
export class LocalChoice {
  /** The engine's name for it; changes when it is submitted again. */
  id: number;
  readonly index: number;
  readonly outputTokenIds: number[] = [];
  ended = false;
  /** It was being computed when a Worker died, and has not got past that place since. */
  suspected = false;
  /** The present Worker has begun to compute it. */
  begun = false;
  /** Past this many output tokens it is past the place where a Worker died, or past what it brought. */
  #place = 0;
  /** Set where the engine or its text ended it. */
  finishReason: FinishReason | undefined;
  stopReason: string | number | undefined;
  readonly #assembler: TextAssembler;
  readonly #sampling: SamplingParams;
  readonly #eosTokenIds: readonly number[];

  constructor(id: number, index: number, request: GenerateRequest, tokenizer: Tokenizer, stop: StopStrings) {
    const { sampling, promptTokenIds } = request;
    this.id = id;
    this.index = index;
    this.#sampling = sampling;
    this.#eosTokenIds = tokenizer.eosTokenIds;
    this.#assembler = new TextAssembler(tokenizer, {
      ...sampling,
      stop,
      continuesText: !tokenizer.isSpecial(promptTokenIds[promptTokenIds.length - 1]!),
    });
  }

  /** Takes the tokens of a stream begun elsewhere, whose text has been sent. */
  restore(tokenIds: Int32Array): void {
    for (const id of tokenIds) this.outputTokenIds.push(id);
    this.#place = tokenIds.length;
    this.#assembler.restore(tokenIds);
  }

  /** It has got somewhere: past the place where a Worker died under it or, where none did, to a first token. */
  get isPast(): boolean {
    return this.ended || this.outputTokenIds.length > this.#place;
  }

  /** The Worker died. `lag`: tokens that steps in flight may have had more than have been told. */
  onDeath(lag: number): void {
    if (this.begun && !this.ended) this.suspected = true;
    if (this.begun && this.isPast) this.#place = this.outputTokenIds.length + lag;
    this.begun = false;
  }

  /** What tokens turned into. `finish`: a FINISH of the engine's. */
  push(tokenIds: number[], logprobs: TokenLogprob[] | undefined, finish: number): TextDelta {
    const assembler = this.#assembler;
    // The text of a token that ends the choice is not part of it, unless asked for.
    const hidesLast = finish === FINISH.stop && tokenIds.length > 0 && !this.#sampling.includeStopStrInOutput;
    const text = assembler.push(tokenIds, hidesLast ? tokenIds.length - 1 : tokenIds.length);
    const delta: TextDelta = { type: "text-delta", index: this.index, text, tokenIds, logprobs };
    const { stop } = assembler;
    if (stop !== undefined) {
      delta.tokenIds = tokenIds.slice(0, assembler.used);
      delta.logprobs = logprobs?.slice(0, assembler.used);
      this.finishReason = "stop";
      this.stopReason = stop;
    } else if (finish !== FINISH.none) {
      delta.text += assembler.flush();
      this.finishReason = finish === FINISH.stop ? "stop" : "length";
    }
    for (const id of delta.tokenIds) this.outputTokenIds.push(id);
    // A stream moved here already complete ends on a token it had before.
    if (finish === FINISH.stop && stop === undefined) this.stopReason = this.#stopToken();
    return delta;
  }

  /** The id that ended it, unless it is the model's own end. */
  #stopToken(): number | undefined {
    const last = this.outputTokenIds.at(-1);
    const isEnd = last !== undefined && this.#eosTokenIds.includes(last) && !this.#sampling.ignoreEos;
    return isEnd ? undefined : last;
  }
}
