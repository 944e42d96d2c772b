import type { Limits } from "../config/limits.ts";
import type { TextTimings } from "./text-service.ts";
import type { FailureReason, OpenMessage, TextRequest, WorkerMessage } from "./worker-protocol.ts";

export type LaneOutcome =
  | ({
      readonly type: "encoded";
      readonly text: string | undefined;
      readonly ids: Int32Array;
      readonly encoderBytes: number;
    } & TextTimings)
  | { readonly type: "failed"; readonly reason: FailureReason; readonly message: string }
  /** The request could not be handed to the Worker, which never saw it. */
  | { readonly type: "unsent"; readonly cause: unknown }
  /** The template or the encoder ran past its deadline; the lane is closed. */
  | { readonly type: "overran"; readonly stage: "template" | "encoder" }
  /** There is no Worker that it could be handed to. */
  | { readonly type: "absent"; readonly cause: unknown }
  /** The Worker ended by itself while it had the request, or was closed. */
  | { readonly type: "died"; readonly cause: unknown };

/** How long messages already on their way may take to be seen, where this thread itself was held up past a deadline. */
const LATE_MS = 50;

/** TypeScript's own Worker type, from the DOM, lacks these. */
type ThreadWorker = Worker & Pick<Bun.Worker, "ref" | "unref">;

/** One tokenizer Worker and the one request that it works on. After it has died or overrun, a lane is used up. */
export class WorkerLane {
  readonly #worker: ThreadWorker;
  readonly #limits: Limits;
  #stage: "starting" | "idle" | "template" | "encoder" | "closed" = "starting";
  #finish: ((outcome: LaneOutcome) => void) | undefined;
  #text: string | undefined;
  #cause: unknown;
  #timer: Timer | undefined;
  readonly #started = Promise.withResolvers<boolean>();
  readonly #ended = Promise.withResolvers<void>();

  /** Throws where the Worker cannot be given its first message. */
  constructor(worker: Worker, open: OpenMessage, limits: Limits) {
    this.#worker = worker as ThreadWorker;
    this.#limits = limits;
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => this.#receive(data);
    worker.onmessageerror = () => this.#end({ type: "died", cause: "an answer of the Worker cannot be read" });
    // An error that nothing caught ends a Worker.
    worker.onerror = (event) => this.#end({ type: "died", cause: event.message });
    worker.addEventListener("close", () => this.#end({ type: "died", cause: "the Worker has ended" }));
    this.#watch(limits.tokenizerStartMs);
    try {
      worker.postMessage(open);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Why the lane closed, where the Worker did not end as asked. */
  get cause(): unknown {
    return this.#cause;
  }

  /** Resolves when the Worker has started: false where it could not. */
  get started(): Promise<boolean> {
    return this.#started.promise;
  }

  /** Resolves when the lane is used up, also while nobody uses it. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get closed(): boolean {
    return this.#stage === "closed";
  }

  /** Never rejects. The lane must be idle: one request at a time. */
  async run(request: TextRequest): Promise<LaneOutcome> {
    if (!(await this.#started.promise) || this.#stage !== "idle") return { type: "absent", cause: this.#cause };
    try {
      this.#worker.postMessage(request);
    } catch (cause) {
      // What cannot be cloned is refused here, before anything is sent.
      return { type: "unsent", cause };
    }
    const { promise, resolve } = Promise.withResolvers<LaneOutcome>();
    this.#finish = resolve;
    this.#text = undefined;
    this.#worker.ref();
    if (request.type === "chat") {
      this.#stage = "template";
      this.#watch(this.#limits.templateDeadlineMs);
    } else {
      this.#encoding(request.text);
    }
    return promise;
  }

  close(): void {
    this.#end({ type: "died", cause: "closed" });
  }

  #receive(message: WorkerMessage): void {
    if (this.#stage === "closed") return;
    if (message.type === "rendered") {
      this.#text = message.text;
      this.#encoding(message.text);
      return;
    }
    clearTimeout(this.#timer);
    this.#stage = "idle";
    // An idle Worker must not keep the process alive.
    this.#worker.unref();
    if (message.type === "ready") this.#started.resolve(true);
    else this.#finish?.(message.type === "encoded" ? { ...message, text: this.#text } : message);
  }

  #encoding(text: string): void {
    this.#stage = "encoder";
    const { encodeDeadlineMs, encodeDeadlineMsPerKiChar } = this.#limits;
    this.#watch(encodeDeadlineMs + Math.ceil((text.length / 1024) * encodeDeadlineMsPerKiChar));
  }

  #watch(deadlineMs: number): void {
    clearTimeout(this.#timer);
    const stage = this.#stage;
    const overrun = () => {
      if (this.#stage !== stage) return;
      const overran = stage === "template" || stage === "encoder";
      this.#end(overran ? { type: "overran", stage } : { type: "died", cause: "the Worker did not start in time" });
    };
    // When this thread was busy, timers run before the messages that came in time: give those their turn.
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(overrun, LATE_MS);
    }, deadlineMs);
  }

  #end(outcome: LaneOutcome): void {
    if (this.#stage === "closed") return;
    this.#stage = "closed";
    if (outcome.type === "died") this.#cause = outcome.cause;
    clearTimeout(this.#timer);
    this.#worker.terminate();
    this.#started.resolve(false);
    this.#ended.resolve();
    this.#finish?.(outcome);
  }
}
