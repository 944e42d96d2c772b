import {
  differenceOf,
  type EngineSnapshot,
  emptyEngineSnapshot,
  type StageSnapshot,
  type StageSource,
  sumOf,
  type Tally,
  type TraceSpan,
} from "../bench/profile/stage-source.ts";
import type { Clock } from "../core/clock.ts";
import type { GenerateEvent } from "../core/generate.ts";
import type { Authentication } from "../gateway/authentication.ts";
import { TurnQueue } from "../http/turn-queue.ts";
import type { LocalReplica } from "../replica/local.ts";
import { TextAssembler } from "../text/text-assembler.ts";
import type { TextService } from "../text/text-service.ts";
import type { ServerParts } from "./start-server.ts";

/** Spans kept for a trace; a few thousand requests, beyond which viewers crawl. */
const MAX_SPANS = 50_000;

/**
 * Times a server's stages from its seams: the key check, the text service, the replica, the detokeniser and the writes get
 * their methods replaced by timed ones while timing is on, and their own back when it is off, so that a server that is not
 * profiled pays nothing.
 */
export class StageRecorder implements StageSource {
  readonly #parts: ServerParts;
  readonly #clock: Clock;
  readonly #restores: Array<() => void> = [];
  #spans: TraceSpan[] = [];
  #requests = 0;
  /** Sums of points in time: their differences are sums of stages. */
  #arrivedMs = 0;
  #textMs = 0;
  #encodedMs = 0;
  #formattedMs = 0;
  readonly #stageMs = { auth: 0, template: 0, tokenise: 0, queue: 0, prefill: 0, deliver: 0, format: 0 };
  #submittedMs = 0;
  readonly #detokenise: Tally = { count: 0, ms: 0 };
  readonly #format: Tally = { count: 0, ms: 0 };
  readonly #write: Tally = { count: 0, ms: 0 };

  #streams = 0;
  /** Streams between their first token and their end. */
  #decoding = 0;
  /** The engine's counters when the last stream of the load began to decode. */
  #windowStart: Promise<EngineSnapshot> | undefined;
  #windows: Promise<EngineSnapshot> = Promise.resolve(emptyEngineSnapshot());

  constructor(parts: ServerParts, clock: Clock) {
    this.#parts = parts;
    this.#clock = clock;
  }

  async enable(streams: number): Promise<void> {
    this.#streams = streams;
    this.#decoding = 0;
    this.#windowStart = undefined;
    for (const restore of this.#restores.splice(0)) restore();
    if (streams > 0) {
      const { authentication, text, replica } = this.#parts;
      this.#timeAuthentication(authentication);
      this.#timeText(text);
      this.#timeReplica(replica);
      this.#timeCalls(TextAssembler.prototype, "push", this.#detokenise);
      this.#timeCalls(TurnQueue.prototype, "run", this.#write);
    }
    await this.#parts.replica.profile(streams > 0);
  }

  async snapshot(): Promise<StageSnapshot> {
    const { auth, template, tokenise, queue, prefill, deliver, format } = this.#stageMs;
    return {
      requests: this.#requests,
      stageMs: {
        auth,
        parse: this.#textMs - this.#arrivedMs - auth,
        template,
        tokenise,
        "text wait": this.#encodedMs - this.#textMs - template - tokenise,
        admission: this.#submittedMs - this.#encodedMs,
        queue,
        prefill,
        deliver,
        format,
      },
      boundary: { arrivedMs: this.#arrivedMs, formattedMs: this.#formattedMs },
      messages: { ...this.#parts.replica.messages },
      detokenise: { ...this.#detokenise },
      format: { ...this.#format },
      write: { ...this.#write },
      engine: await this.#engine(),
      decode: await this.#windows,
    };
  }

  takeSpans(): TraceSpan[] {
    const spans = this.#spans;
    this.#spans = [];
    return spans;
  }

  async #engine(): Promise<EngineSnapshot> {
    const { replica } = this.#parts;
    const { steps, tokens, stepNs, stages } = await replica.profile(true);
    const { gapMs, scheduleMs, packMs, commitMs } = replica.stats().engine ?? emptyEngineSnapshot();
    const kernels = Object.entries(stages).map(([name, { ns, bytes, ops }]) => [name, { ms: ns / 1e6, bytes, ops }]);
    return {
      steps,
      tokens,
      stepMs: stepNs / 1e6,
      gapMs,
      scheduleMs,
      packMs,
      commitMs,
      kernels: Object.fromEntries(kernels),
    };
  }

  /** Puts another method in a method's place, until timing is turned off. */
  #replace<T extends object, K extends keyof T>(target: T, name: K, method: T[K]): void {
    const own = Object.getOwnPropertyDescriptor(target, name);
    // An own property hides the prototype's method; deleting it brings that back.
    this.#restores.push(() => {
      if (own === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, own);
    });
    target[name] = method;
  }

  /** Times a synchronous method of every object of a class. */
  #timeCalls<K extends string, T extends Record<K, (...args: never[]) => unknown>>(
    prototype: T,
    name: K,
    tally: Tally,
  ): void {
    const method = prototype[name];
    const clock = this.#clock;
    function timed(this: T, ...args: never[]): unknown {
      const startMs = clock.nowMs();
      const result = method.apply(this, args);
      tally.ms += clock.nowMs() - startMs;
      tally.count++;
      return result;
    }
    this.#replace(prototype, name, timed as T[K]);
  }

  #timeAuthentication(authentication: Authentication): void {
    const authenticate = authentication.authenticate.bind(authentication);
    this.#replace(authentication, "authenticate", (headers) => {
      const startMs = this.#clock.nowMs();
      const identity = authenticate(headers);
      this.#arrivedMs += startMs;
      this.#stageMs.auth += this.#clock.nowMs() - startMs;
      return identity;
    });
  }

  #timeText(text: TextService): void {
    const encode = text.encode.bind(text);
    const encodeChat = text.encodeChat.bind(text);
    this.#replace(text, "encode", async (...args) => {
      const startMs = this.#clock.nowMs();
      const ids = await encode(...args);
      const endMs = this.#clock.nowMs();
      this.#encoded("tokenise", startMs, endMs, 0, endMs - startMs);
      return ids;
    });
    this.#replace(text, "encodeChat", async (...args) => {
      const startMs = this.#clock.nowMs();
      const chat = await encodeChat(...args);
      this.#encoded("template and tokenise", startMs, this.#clock.nowMs(), chat.templateMs, chat.tokeniseMs);
      return chat;
    });
  }

  #encoded(name: string, startMs: number, endMs: number, templateMs: number, tokeniseMs: number): void {
    this.#textMs += startMs;
    this.#encodedMs += endMs;
    this.#stageMs.template += templateMs;
    this.#stageMs.tokenise += tokeniseMs;
    this.#span({ name, track: "text", startMs, endMs });
  }

  #timeReplica(replica: LocalReplica): void {
    const generate = replica.generate.bind(replica);
    this.#replace(replica, "generate", (request, signal) =>
      this.#timedEvents(generate(request, signal), `replica ${request.id}`),
    );
  }

  #timedEvents(events: AsyncIterable<GenerateEvent>, track: string): AsyncIterable<GenerateEvent> {
    return {
      [Symbol.asyncIterator]: () => {
        const source = events[Symbol.asyncIterator]();
        let firstMs: number | undefined;
        let formattedMs: number | undefined;
        let handedMs: number | undefined;
        let isDecoding = false;
        const over = (): void => {
          if (isDecoding) this.#leaveDecode();
          isDecoding = false;
        };
        const pass = (result: IteratorResult<GenerateEvent>): IteratorResult<GenerateEvent> => {
          const nowMs = this.#clock.nowMs();
          if (result.done === true) return result;
          if (result.value.type === "text-delta") {
            handedMs = nowMs;
            if (firstMs === undefined && result.value.text !== "") {
              firstMs = nowMs;
              isDecoding = true;
              this.#enterDecode();
            }
          } else if (result.value.type === "end") {
            const first = { handedMs: firstMs ?? nowMs, formattedMs: formattedMs ?? nowMs };
            this.#ended(result.value, first, track);
            over();
          }
          return result;
        };
        return {
          next: () => {
            // The reader comes back when it has formatted what it was handed.
            if (handedMs !== undefined) {
              const nowMs = this.#clock.nowMs();
              this.#format.ms += nowMs - handedMs;
              this.#format.count++;
              handedMs = undefined;
              if (firstMs !== undefined) formattedMs ??= nowMs;
            }
            return source.next().then(pass);
          },
          return: async () => {
            over();
            return (await source.return?.()) ?? { done: true, value: undefined };
          },
        };
      },
    };
  }

  /**
   * While as many streams decode as the load has, steps are pure decode at the full batch. The engine answers between two
   * steps, in the order of messages, so a window ends before the next request's prefill.
   */
  #enterDecode(): void {
    if (++this.#decoding === this.#streams) this.#windowStart = this.#engine();
  }

  #leaveDecode(): void {
    this.#decoding--;
    const start = this.#windowStart;
    this.#windowStart = undefined;
    if (start === undefined) return;
    const [before, end] = [this.#windows, this.#engine()];
    this.#windows = Promise.all([before, start, end]).then(([sum, a, b]) => sumOf(sum, differenceOf(a, b)));
  }

  #ended(
    event: Extract<GenerateEvent, { type: "end" }>,
    first: { handedMs: number; formattedMs: number },
    track: string,
  ): void {
    const { arrivedMs, scheduledMs, firstTokenMs, finishedMs } = event.timings;
    const stages = this.#stageMs;
    this.#requests++;
    this.#submittedMs += arrivedMs;
    stages.queue += scheduledMs - arrivedMs;
    stages.prefill += firstTokenMs - scheduledMs;
    stages.deliver += first.handedMs - firstTokenMs;
    stages.format += first.formattedMs - first.handedMs;
    this.#formattedMs += first.formattedMs;
    this.#span({ name: "queue", track, startMs: arrivedMs, endMs: scheduledMs });
    this.#span({ name: "prefill", track, startMs: scheduledMs, endMs: firstTokenMs });
    this.#span({ name: "decode", track, startMs: firstTokenMs, endMs: finishedMs });
  }

  #span(span: TraceSpan): void {
    if (this.#spans.length < MAX_SPANS) this.#spans.push(span);
  }
}
