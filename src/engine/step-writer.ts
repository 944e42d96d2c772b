import type { StepResult } from "../backend/step-layout.ts";
import type { Sequence } from "./sequence.ts";
import { type EngineStats, floatBits, HEADER_WORDS, RECORD, STATS } from "./step-message.ts";

/** Builds step messages in one growing buffer; the layout is in step-message.ts. */
export class StepWriter {
  #words = new Int32Array(4096);
  #header = new Float64Array(this.#words.buffer, 0, STATS.length);
  #end = HEADER_WORDS;

  get isEmpty(): boolean {
    return this.#end === HEADER_WORDS;
  }

  started(sequence: Sequence, cachedTokens: number, queuedMs: number): void {
    this.#room(4);
    this.#put(RECORD.started, sequence.id);
    this.#words[this.#end++] = cachedTokens;
    this.#words[this.#end++] = floatBits(queuedMs);
  }

  preempted(sequence: Sequence): void {
    this.#room(2);
    this.#put(RECORD.preempted, sequence.id);
  }

  failed(id: number, code: number, retryAfterS: number): void {
    this.#room(4);
    this.#put(RECORD.failed, id);
    this.#words[this.#end++] = code;
    this.#words[this.#end++] = retryAfterS;
  }

  /** Tokens [from, sequence.numTokens), which are the result's rows from `row`. */
  tokens(sequence: Sequence, from: number, finish: number, result: StepResult, row: number): void {
    const n = sequence.numTokens - from;
    const top = sequence.group.sampling.logprobs;
    this.#room(5 + n * (top < 0 ? 1 : 3 + 2 * top));
    this.#put(RECORD.tokens, sequence.id);
    const words = this.#words;
    words[this.#end++] = finish;
    words[this.#end++] = n;
    words[this.#end++] = top;
    for (let i = 0; i < n; i++) words[this.#end++] = sequence.tokens[from + i]!;
    if (top >= 0) for (let i = 0; i < n; i++) this.#logprobs(result, row + i, top);
  }

  /** Scores of prompt tokens: `n` rows of the result from `row`. */
  promptScores(sequence: Sequence, n: number, result: StepResult, row: number): void {
    const top = sequence.group.sampling.promptLogprobs;
    this.#room(4 + n * (3 + 2 * top));
    this.#put(RECORD.prompt, sequence.id);
    this.#words[this.#end++] = n;
    this.#words[this.#end++] = top;
    for (let i = 0; i < n; i++) {
      this.#words[this.#end++] = result.words[row + i]!;
      this.#logprobs(result, row + i, top);
    }
  }

  /** The message: a copy, so that posting clones only what is used. */
  take(stats: EngineStats): Int32Array {
    for (let i = 0; i < STATS.length; i++) this.#header[i] = stats[STATS[i]!];
    const message = this.#words.slice(0, this.#end);
    this.#end = HEADER_WORDS;
    return message;
  }

  #logprobs(result: StepResult, row: number, top: number): void {
    const words = this.#words;
    const from = result.words;
    words[this.#end++] = from[result.logprobs + row]!;
    words[this.#end++] = from[result.ranks + row]!;
    const ids = result.topIds + row * result.maxTop;
    const logprobs = result.topLogprobs + row * result.maxTop;
    for (let k = 0; k < top; k++) {
      words[this.#end++] = from[ids + k]!;
      words[this.#end++] = from[logprobs + k]!;
    }
  }

  #put(kind: number, id: number): void {
    this.#words[this.#end++] = kind;
    this.#words[this.#end++] = id;
  }

  #room(words: number): void {
    if (this.#end + words <= this.#words.length) return;
    const grown = new Int32Array(2 * (this.#end + words));
    grown.set(this.#words);
    this.#words = grown;
    this.#header = new Float64Array(grown.buffer, 0, STATS.length);
  }
}
