import type { GenerateEvent, TokenLogprob } from "../core/generate.ts";

type Result = IteratorResult<GenerateEvent, undefined>;

/** About what an alternative of a token is as JSON, the largest of its forms; in memory it is half of that. */
const LOGPROB_BYTES = 80;
/** An id as JSON. */
const TOKEN_ID_BYTES = 6;

/**
 * The events of one request between the engine's messages and one reader. Text that the reader has not taken yet grows
 * the delta that waits, so a slow reader holds one event a choice, however far it is behind. How large they may grow is for
 * the caller to see to, by `waitingBytes`.
 */
export class EventQueue implements AsyncIterator<GenerateEvent, undefined> {
  readonly #events: GenerateEvent[] = [];
  /** By choice: the delta that waits in #events. */
  readonly #deltas = new Map<number, Extract<GenerateEvent, { type: "text-delta" }>>();
  readonly #onReturn: () => void;
  #resolve: ((result: Result) => void) | undefined;
  #reject: (error: Error) => void = () => {};
  #waiting: Promise<Result> | undefined;
  /** Made once: a token's promise costs no closure and no object beside it. */
  readonly #listen = (resolve: (result: Result) => void, reject: (error: Error) => void) => {
    this.#resolve = resolve;
    this.#reject = reject;
  };
  #ended = false;
  #waitingBytes = 0;
  #onEmpty: (() => void) | undefined;
  #error: Error | undefined;

  /** `onReturn`: the reader went away before the end. */
  constructor(onReturn: () => void) {
    this.#onReturn = onReturn;
  }

  /** Output that the reader has not taken, in bytes of what it is sent as. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Calls `then` once, when the reader has taken everything and asks for more. */
  whenEmpty(then: () => void): void {
    this.#onEmpty = then;
  }

  push(event: GenerateEvent): void {
    if (this.#ended) return;
    if (this.#resolve) {
      this.#resolve({ done: false, value: event });
      this.#resolve = undefined;
      return;
    }
    if (event.type === "text-delta") {
      this.#waitingBytes += sentBytes(event);
      const waiting = this.#deltas.get(event.index);
      if (waiting) {
        waiting.text += event.text;
        append(waiting.tokenIds as number[], event.tokenIds);
        if (!waiting.logprobs) waiting.logprobs = event.logprobs;
        else if (event.logprobs) append(waiting.logprobs as TokenLogprob[], event.logprobs);
        return;
      }
      this.#deltas.set(event.index, event);
    }
    this.#events.push(event);
  }

  /** What was pushed is still read; then the iteration ends, with `error` where there is one. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    if (!this.#resolve) return;
    if (error) this.#reject(error);
    else this.#resolve({ done: true, value: undefined });
    this.#error = undefined;
    this.#resolve = undefined;
  }

  next(): Promise<Result> {
    if (this.#events.length > 0) {
      const event = this.#events.shift()!;
      if (event.type === "text-delta") {
        this.#deltas.delete(event.index);
        this.#waitingBytes -= sentBytes(event);
      }
      return Promise.resolve({ done: false, value: event });
    }
    this.#onEmpty?.();
    this.#onEmpty = undefined;
    if (this.#ended) {
      const error = this.#error;
      this.#error = undefined;
      return error ? Promise.reject(error) : Promise.resolve({ done: true, value: undefined });
    }
    if (!this.#resolve) this.#waiting = new Promise(this.#listen);
    return this.#waiting!;
  }

  return(): Promise<Result> {
    this.#events.length = 0;
    this.#waitingBytes = 0;
    if (!this.#ended) {
      this.#onReturn();
      this.end();
    }
    return Promise.resolve({ done: true, value: undefined });
  }
}

function sentBytes({ text, tokenIds, logprobs }: Extract<GenerateEvent, { type: "text-delta" }>): number {
  const alternatives = logprobs === undefined ? 0 : logprobs.reduce((sum, { top }) => sum + 1 + top.length, 0);
  return text.length + TOKEN_ID_BYTES * tokenIds.length + LOGPROB_BYTES * alternatives;
}

/** In place: a delta that waits is the queue's own, and may grow for as long as its reader is slow. */
function append<T>(to: T[], values: readonly T[]): void {
  for (const value of values) to.push(value);
}
