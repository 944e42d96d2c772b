import {
  differenceOf,
  type EngineSnapshot,
  emptyEngineSnapshot,
  type StageSnapshot,
  type StageSource,
  sumOf,
  type TraceSpan,
} from "../bench/profile/stage-source.ts";
import type { Clock } from "../core/clock.ts";
import type { GenerateEvent } from "../core/generate.ts";
import type { Authentication } from "../gateway/authentication.ts";
import type { LocalReplica } from "../replica/local.ts";
import type { TextService } from "../text/text-service.ts";
import type { ServerParts } from "./start-server.ts";

/** Spans kept for a trace; a few thousand requests, beyond which viewers crawl. */
const MAX_SPANS = 50_000;

/**
 * Times a server's stages from its seams: the key check, the text service and the replica get their methods replaced by
 * timed ones while timing is on, and their own back when it is off, so that a server that is not profiled pays nothing.
 */
export class StageRecorder implements StageSource {
  readonly #parts: ServerParts;
  readonly #clock: Clock;
  #spans: TraceSpan[] = [];
  #requests = 0;
  #arrivedMs = 0;
  #deliveredMs = 0;
  #formatMs = 0;
  #events = 0;
  #authMs = 0;
  #textMs = 0;
  #generatedMs = 0;
  #queueMs = 0;
  #prefillMs = 0;
  #deliverMs = 0;

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
    const { authentication, text, replica } = this.#parts;
    // Own properties hide the prototype's methods; deleting them brings those back.
    for (const [part, name] of [
      [authentication, "authenticate"],
      [text, "encode"],
      [text, "encodeChat"],
      [replica, "generate"],
    ] as const)
      Reflect.deleteProperty(part, name);
    if (streams > 0) {
      this.#timeAuthentication(authentication);
      this.#timeText(text);
      this.#timeReplica(replica);
    }
    await replica.profile(streams > 0);
  }

  async snapshot(): Promise<StageSnapshot> {
    return {
      requests: this.#requests,
      stageMs: {
        auth: this.#authMs,
        // Between the key check and the replica lie parsing and text.
        parse: this.#generatedMs - this.#arrivedMs - this.#authMs - this.#textMs,
        text: this.#textMs,
        queue: this.#queueMs,
        prefill: this.#prefillMs,
        deliver: this.#deliverMs,
      },
      boundary: { arrivedMs: this.#arrivedMs, deliveredMs: this.#deliveredMs },
      formatMs: this.#formatMs,
      events: this.#events,
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
    const stats = replica.stats().engine;
    const kernels = Object.entries(stages).map(([name, { ns, bytes, ops }]) => [name, { ms: ns / 1e6, bytes, ops }]);
    return {
      steps,
      tokens,
      stepMs: stepNs / 1e6,
      gapMs: stats?.gapMs ?? 0,
      scheduleMs: stats?.scheduleMs ?? 0,
      kernels: Object.fromEntries(kernels),
    };
  }

  #timeAuthentication(authentication: Authentication): void {
    const authenticate = authentication.authenticate.bind(authentication);
    authentication.authenticate = (headers) => {
      const startMs = this.#clock.nowMs();
      const identity = authenticate(headers);
      this.#arrivedMs += startMs;
      this.#authMs += this.#clock.nowMs() - startMs;
      return identity;
    };
  }

  #timeText(text: TextService): void {
    const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const startMs = this.#clock.nowMs();
      const result = await work();
      const endMs = this.#clock.nowMs();
      this.#textMs += endMs - startMs;
      this.#span({ name, track: "text", startMs, endMs });
      return result;
    };
    const encode = text.encode.bind(text);
    const encodeChat = text.encodeChat.bind(text);
    text.encode = (...args) => timed("tokenise", () => encode(...args));
    text.encodeChat = (...args) => timed("template and tokenise", () => encodeChat(...args));
  }

  #timeReplica(replica: LocalReplica): void {
    const generate = replica.generate.bind(replica);
    replica.generate = (request, signal) => {
      const generatedMs = this.#clock.nowMs();
      return this.#timedEvents(generate(request, signal), generatedMs, `replica ${request.id}`);
    };
  }

  #timedEvents(events: AsyncIterable<GenerateEvent>, generatedMs: number, track: string): AsyncIterable<GenerateEvent> {
    return {
      [Symbol.asyncIterator]: () => {
        const source = events[Symbol.asyncIterator]();
        let firstMs: number | undefined;
        let handedMs: number | undefined;
        const over = (): void => {
          if (firstMs !== undefined) this.#leaveDecode();
          firstMs = undefined;
        };
        const pass = (result: IteratorResult<GenerateEvent>): IteratorResult<GenerateEvent> => {
          const nowMs = this.#clock.nowMs();
          if (result.done === true) return result;
          if (result.value.type === "text-delta") {
            handedMs = nowMs;
            if (firstMs === undefined && result.value.text !== "") {
              firstMs = nowMs;
              this.#enterDecode();
            }
          } else if (result.value.type === "end") {
            this.#ended(result.value, generatedMs, firstMs ?? nowMs, track);
            over();
          }
          return result;
        };
        return {
          next: () => {
            // The reader comes back when it has formatted what it was handed.
            if (handedMs !== undefined) {
              this.#formatMs += this.#clock.nowMs() - handedMs;
              this.#events++;
              handedMs = undefined;
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

  #ended(event: Extract<GenerateEvent, { type: "end" }>, generatedMs: number, firstMs: number, track: string): void {
    const { arrivedMs, scheduledMs, firstTokenMs, finishedMs } = event.timings;
    this.#requests++;
    this.#generatedMs += generatedMs;
    // The replica's first act is counted as queueing: its own arrival is a moment later.
    this.#queueMs += scheduledMs - generatedMs;
    this.#prefillMs += firstTokenMs - scheduledMs;
    this.#deliverMs += firstMs - firstTokenMs;
    this.#deliveredMs += firstMs;
    this.#span({ name: "queue", track, startMs: arrivedMs, endMs: scheduledMs });
    this.#span({ name: "prefill", track, startMs: scheduledMs, endMs: firstTokenMs });
    this.#span({ name: "decode", track, startMs: firstTokenMs, endMs: finishedMs });
  }

  #span(span: TraceSpan): void {
    if (this.#spans.length < MAX_SPANS) this.#spans.push(span);
  }
}
