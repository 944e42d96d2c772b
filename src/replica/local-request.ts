import { LIMITS } from "../config/limits.ts";
import type { ServeError } from "../core/errors.ts";
import type { GenerateRequest, StageTimings, TokenLogprob } from "../core/generate.ts";
import type { AddChoice } from "../engine/messages.ts";
import type { EngineSampling } from "../engine/sequence.ts";
import { FINISH } from "../engine/step-message.ts";
import { StopStrings } from "../text/stop-strings.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { EventQueue } from "./event-queue.ts";
import { LocalChoice } from "./local-choice.ts";
import type { Death } from "./restart-budget.ts";

/** A running request: everything needed to tell its story to one reader, and to begin it again after a fault. */
export class LocalRequest {
  readonly request: GenerateRequest;
  readonly sampling: EngineSampling;
  readonly choices: LocalChoice[];
  readonly events: EventQueue;
  /** The engine has computed some of it. */
  started = false;
  /** The present Worker has it. */
  submitted = false;
  /** Nothing is computed for it, since its reader is behind. */
  held = false;
  /** It got to its end: every choice has one. */
  hasEnded = false;
  /** Of Workers that had it, since it last got past the place of one. */
  deaths: readonly Death[] = [];
  /** Called once, when nothing more will happen. */
  onOver: () => void = () => {};
  #live: number;
  #cachedTokens = 0;
  #promptSent = false;
  readonly #promptLogprobs: (TokenLogprob | null)[] = [null];
  readonly #timings: StageTimings;

  constructor(
    request: GenerateRequest,
    sampling: EngineSampling,
    tokenizer: Tokenizer,
    newId: () => number,
    nowMs: number,
    onReturn: () => void,
  ) {
    this.request = request;
    this.sampling = sampling;
    this.events = new EventQueue(onReturn);
    const stop = new StopStrings(request.sampling.stop);
    this.choices = Array.from(
      { length: request.n },
      (_, index) => new LocalChoice(newId(), index, request, tokenizer, stop),
    );
    this.#live = request.n;
    if (request.resume) this.choices[0]!.restore(request.resume.outputTokenIds);
    this.#timings = { arrivedMs: nowMs, scheduledMs: nowMs, firstTokenMs: nowMs, finishedMs: nowMs, preemptions: 0 };
  }

  /** What the engine needs to begin, or to go on with, the choices that have not ended. */
  remaining(): AddChoice[] {
    return this.choices
      .filter((choice) => !choice.ended)
      .map(({ id, index, outputTokenIds }) => ({ id, index, outputTokens: Int32Array.from(outputTokenIds) }));
  }

  /** A new Worker will compute it again; what the reader has seen stays seen. */
  restart(newId: () => number): void {
    for (const choice of this.choices) choice.id = newId();
    if (!this.#promptSent) this.#promptLogprobs.length = 1;
  }

  onStarted(cachedTokens: number, queuedMs: number): void {
    if (this.started) return;
    this.started = true;
    this.#cachedTokens = cachedTokens;
    this.#timings.scheduledMs = this.#timings.arrivedMs + queuedMs;
    if (this.request.sampling.promptLogprobs === undefined) this.#sendPrompt();
  }

  /** What a Worker has begun of it has got somewhere; false where nothing was begun. See LocalChoice.isPast. */
  get isPast(): boolean {
    let any = false;
    for (const choice of this.choices) {
      if (!choice.begun && !choice.suspected) continue;
      if (!choice.isPast) return false;
      any = true;
    }
    return any;
  }

  /** A Worker died while it computed it, and it is not past that place. */
  get isSuspected(): boolean {
    return this.deaths.length > 0 && this.choices.some((choice) => choice.suspected);
  }

  /** The Worker that had it died. */
  onDeath(death: Death, lag: number): void {
    this.deaths = this.isPast ? [death] : [...this.deaths, death];
    for (const choice of this.choices) choice.onDeath(lag);
  }

  /** It has got past the place of a death, or is over. */
  acquit(): void {
    this.deaths = [];
    for (const choice of this.choices) choice.suspected = false;
  }

  onPreempted(): void {
    this.#timings.preemptions++;
  }

  onPromptScores(scores: TokenLogprob[]): void {
    if (!this.#promptSent) this.#promptLogprobs.push(...scores);
  }

  /** Takes what a step brought for one choice. True when the engine has to be told that the choice is over. */
  onTokens(
    choice: LocalChoice,
    tokenIds: number[],
    logprobs: TokenLogprob[] | undefined,
    finish: number,
    nowMs: number,
  ) {
    this.#sendPrompt();
    if (this.#timings.firstTokenMs === this.#timings.arrivedMs) this.#timings.firstTokenMs = nowMs;
    const delta = choice.push(tokenIds, logprobs, finish);
    if (delta.tokenIds.length > 0 || delta.text !== "") this.events.push(delta);
    if (choice.finishReason !== undefined) {
      choice.ended = true;
      this.#live--;
      this.events.push({
        type: "end",
        index: choice.index,
        finishReason: choice.finishReason,
        stopReason: choice.stopReason,
        usage: {
          promptTokens: this.request.promptTokenIds.length,
          completionTokens: choice.outputTokenIds.length,
          cachedTokens: this.#cachedTokens,
        },
        timings: { ...this.#timings, finishedMs: nowMs },
      });
      if (this.#live === 0) {
        this.hasEnded = true;
        this.events.end();
      }
    }
    return choice.ended && finish === FINISH.none;
  }

  /** Ends the stream with an error. */
  fail(error: ServeError): void {
    for (const choice of this.choices) choice.ended = true;
    this.#live = 0;
    this.events.end(error);
  }

  /** More waits for the reader than may. */
  get isBehind(): boolean {
    return this.events.waitingBytes > (this.request.maxWaitingBytes ?? LIMITS.maxWaitingOutputBytes);
  }

  get isOver(): boolean {
    return this.#live === 0;
  }

  #sendPrompt(): void {
    if (this.#promptSent) return;
    this.#promptSent = true;
    const wanted = this.request.sampling.promptLogprobs !== undefined;
    this.events.push({
      type: "prompt",
      cachedTokens: this.#cachedTokens,
      promptLogprobs: wanted ? this.#promptLogprobs : undefined,
    });
  }
}
