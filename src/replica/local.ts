import { type Clock, clockOriginMs } from "../core/clock.ts";
import { ServeError } from "../core/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../core/generate.ts";
import { DEFAULT_SAMPLING } from "../core/sampling-params.ts";
import type { BackendConfig } from "../engine/backend-config.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import type { EngineReady, ProfileReply } from "../engine/messages.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { CrashTrials } from "./crash-trials.ts";
import { EngineConnection, type EngineDeath } from "./engine-connection.ts";
import { failure } from "./failure.ts";
import type { LocalChoice } from "./local-choice.ts";
import { LocalRequest } from "./local-request.ts";
import type { Replica, ReplicaStats } from "./replica.ts";
import { ReplicaCounters } from "./replica-counters.ts";
import { RestartBudget } from "./restart-budget.ts";
import { SlowReaders } from "./slow-readers.ts";
import { readStep, type StepHandlers } from "./step-reader.ts";
import { addRequest, engineSampling } from "./to-engine.ts";

export interface LocalReplicaOptions {
  readonly name: string;
  readonly backend: BackendConfig;
  readonly engine: EngineOptions;
  /** A promise lets the weights load while the tokenizer is built. */
  readonly tokenizer: Tokenizer | Promise<Tokenizer>;
  readonly clock: Clock;
  /** Things a person should know, such as a clipped context or a restarted engine. */
  readonly onNotice?: (message: string) => void;
  /** The engine cannot go on in this process. All streams have ended with an error. */
  readonly onFatal?: (error: Error) => void;
}

/**
 * An engine in this process. Owns the engine Worker, turns requests into messages and step messages into events. When
 * the Worker dies, another takes over the native state and every stream goes on from its prompt and the tokens it has.
 */
export class LocalReplica implements Replica {
  readonly name: string;
  readonly #options: LocalReplicaOptions;
  readonly #live = new Set<LocalRequest>();
  /** By the engine's id. */
  readonly #choices = new Map<number, { request: LocalRequest; choice: LocalChoice }>();
  readonly #counters = new ReplicaCounters();
  readonly #restarts: RestartBudget;
  readonly #trials: CrashTrials;
  readonly #slowReaders = new SlowReaders((live) => this.#hold(live));
  readonly #started = Promise.withResolvers<void>();
  /** Asked for and not answered yet, in order. */
  readonly #profiles: (PromiseWithResolvers<ProfileReply["profile"]> & { readonly enable: boolean })[] = [];
  readonly #handlers: StepHandlers;
  #drained: PromiseWithResolvers<void> | undefined;
  #connection: EngineConnection;
  #tokenizer: Tokenizer | undefined;
  #ready: EngineReady | undefined;
  #backend: BackendConfig;
  #state: "loading" | "ready" | "restarting" | "closed" | "fatal" = "loading";
  #nextId = 1;
  #canaryId = 0;
  #numNotStarted = 0;
  #nowMs = 0;

  private constructor(options: LocalReplicaOptions) {
    this.name = options.name;
    this.#options = options;
    this.#backend = options.backend;
    this.#restarts = new RestartBudget(options.clock);
    // Two steps may be in flight; with speculation one, of a token and its drafts.
    this.#trials = new CrashTrials(this.#live, 2 + options.engine.speculativeTokens, {
      submit: (live) => this.#submit(live),
      withdraw: (live) => this.#withdraw(live),
      runCanary: () => this.#runCanary(),
    });
    this.#handlers = this.#stepHandlers();
    this.#connection = this.#connect();
  }

  /** Resolves when the weights are loaded and requests run. Rejects with what the engine says when it cannot start. */
  static async start(options: LocalReplicaOptions): Promise<LocalReplica> {
    const replica = new LocalReplica(options);
    try {
      [replica.#tokenizer] = await Promise.all([options.tokenizer, replica.#started.promise]);
    } catch (error) {
      await replica.close();
      throw error;
    }
    return replica;
  }

  /** What the engine runs on: device, context, KV blocks. */
  get engine(): EngineReady {
    return this.#ready!;
  }

  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent> {
    return { [Symbol.asyncIterator]: () => this.#begin(request, signal).events };
  }

  stats(): ReplicaStats {
    const engine = this.#counters.total();
    return {
      ready: this.#state === "ready" && !this.#drained,
      running: engine.running,
      waiting: Math.max(engine.waiting, this.#numNotStarted),
      kvBlocksTotal: engine.kvBlocksTotal,
      kvBlocksUsed: engine.kvBlocksUsed,
      kvBlockBytes: this.#ready?.info.kvBlockBytes ?? 0,
      promptTokens: engine.promptTokens,
      cachedTokens: engine.cachedTokens,
      outputTokens: engine.outputTokens,
      preemptions: engine.preemptions,
      engine,
    };
  }

  /** Step messages so far, and how long they took from the engine's thread to this one, summed. */
  get messages(): { count: number; ms: number } {
    return { count: this.#counters.messages, ms: this.#counters.messageMs };
  }

  /** Turns the backend's stage timing on or off and returns what it measured. Rejects with unavailable when the engine is gone. */
  profile(enable: boolean): Promise<ProfileReply["profile"]> {
    const asked = { enable, ...Promise.withResolvers<ProfileReply["profile"]>() };
    this.#profiles.push(asked);
    if (this.#state === "closed" || this.#state === "fatal") this.#failProfiles();
    else this.#connection.send({ type: "profile", enable });
    return asked.promise;
  }

  drain(): Promise<void> {
    this.#drained ??= Promise.withResolvers<void>();
    if (this.#live.size === 0) this.#drained.resolve();
    return this.#drained.promise;
  }

  async close(): Promise<void> {
    if (this.#state !== "fatal") this.#state = "closed";
    this.#failAll(() => new ServeError("unavailable", "The server is shutting down."));
    await this.#connection.close();
    this.#failProfiles();
  }

  #begin(request: GenerateRequest, signal: AbortSignal): LocalRequest {
    const { clock } = this.#options;
    const tokenizer = this.#tokenizer!;
    const sampling = engineSampling(request.sampling, tokenizer.eosTokenIds);
    const onAbort = () => {
      if (!live.isOver) this.#fail(live, new ServeError("cancelled", "The request was cancelled."));
    };
    const live: LocalRequest = new LocalRequest(
      request,
      sampling,
      tokenizer,
      () => this.#nextId++,
      clock.nowMs(),
      () => this.#abandon(live),
    );
    const refusal = this.#refuse(request, signal);
    if (refusal) {
      live.fail(refusal);
      return live;
    }
    signal.addEventListener("abort", onAbort, { once: true });
    live.onOver = () => signal.removeEventListener("abort", onAbort);
    this.#live.add(live);
    this.#numNotStarted++;
    this.#trials.admit(live);
    return live;
  }

  /** Why a request is not taken; undefined when it is. */
  #refuse(request: GenerateRequest, signal: AbortSignal): ServeError | undefined {
    if (signal.aborted) return new ServeError("cancelled", "The request was cancelled.");
    if (this.#state === "closed" || this.#state === "fatal" || this.#drained) {
      return new ServeError("unavailable", "This server is not taking requests.");
    }
    if (request.resume && request.n !== 1) {
      return new ServeError("invalid_argument", "Only a request with one choice can be resumed.", { param: "n" });
    }
    // The engine refuses too; here it costs no message, and holds while the engine is busy with a long step.
    if (this.#numNotStarted >= this.#options.engine.maxQueue) {
      const { queuedTokens, tokensPerS } = this.#counters.total();
      const seconds = tokensPerS > 0 ? Math.ceil(queuedTokens / tokensPerS) : 1;
      return failure.overloaded(Math.max(1, Math.min(60, seconds)));
    }
    return undefined;
  }

  #submit(live: LocalRequest): void {
    for (const choice of live.choices) if (!choice.ended) this.#choices.set(choice.id, { request: live, choice });
    // While a new Worker starts, requests wait here; so do those whose readers are behind.
    if (this.#state !== "ready" || live.held) return;
    live.submitted = true;
    try {
      this.#connection.send(addRequest(live.request, live.sampling, live.remaining(), this.#options.clock.nowMs()));
    } catch (cause) {
      // There is no memory for a copy of it, for one.
      this.#fail(live, new ServeError("internal", "The request could not be handed to the engine.", { cause }));
    }
  }

  /** Has the engine compute one token that nobody reads. */
  #runCanary(): void {
    this.#canaryId = this.#nextId++;
    const prompt = Int32Array.of(this.#tokenizer!.eosTokenIds[0] ?? 0);
    const sampling = engineSampling({ ...DEFAULT_SAMPLING, maxTokens: 1, temperature: 0 }, []);
    const choices = [{ id: this.#canaryId, index: 0, outputTokens: new Int32Array(0) }];
    this.#connection.send({ type: "add", prompt, sampling, priority: 0, tenant: "", deadlineInMs: undefined, choices });
  }

  #stepHandlers(): StepHandlers {
    return {
      started: (id, cachedTokens, queuedMs) =>
        this.#guard(id, ({ request, choice }) => {
          choice.begun = true;
          if (!request.started) this.#numNotStarted--;
          request.onStarted(cachedTokens, queuedMs);
        }),
      tokens: (id, tokenIds, logprobs, finish) => {
        if (id === this.#canaryId) this.#trials.onCanary();
        this.#guard(id, ({ request, choice }) => {
          const stopped = request.onTokens(choice, tokenIds, logprobs, finish, this.#nowMs);
          if (stopped) this.#connection.send({ type: "abort", id });
          if (choice.ended) this.#choices.delete(id);
          if (request.isOver) this.#over(request);
          else this.#trials.onProgress(request);
          this.#slowReaders.onOutput(request);
        });
      },
      promptScores: (id, scores) => this.#guard(id, ({ request }) => request.onPromptScores(scores)),
      preempted: (id) => this.#guard(id, ({ request }) => request.onPreempted()),
      failed: (id, code, retryAfterS) => {
        if (id === this.#canaryId) this.#trials.onCanary();
        this.#guard(id, ({ request }) => this.#fail(request, failure.of(code, retryAfterS)));
      },
    };
  }

  /** A record of a step concerns one request: what is thrown over it ends that request, and the others' are read on. */
  #guard(id: number, take: (found: { request: LocalRequest; choice: LocalChoice }) => void): void {
    const found = this.#choices.get(id);
    if (!found) return;
    try {
      take(found);
    } catch (cause) {
      this.#fail(found.request, new ServeError("internal", "The server failed over this request's output.", { cause }));
    }
  }

  #connect(): EngineConnection {
    return new EngineConnection(this.#backend, this.#options.engine, this.#options.clock, {
      onReady: (ready) => this.#onReady(ready),
      onStep: (message) => {
        this.#nowMs = this.#options.clock.nowMs();
        this.#counters.update(message, this.#nowMs + clockOriginMs - this.#ready!.clockOriginMs);
        readStep(message, this.#handlers);
      },
      onNotice: (message) => this.#options.onNotice?.(message),
      onRefused: (refusal) => {
        const found = this.#choices.get(refusal.id);
        if (found) this.#fail(found.request, failure.ofRefusal(refusal));
      },
      onProfile: (reply) => this.#profiles.shift()!.resolve(reply.profile),
      onDeath: (death) => this.#onDeath(death),
    });
  }

  #onReady(ready: EngineReady): void {
    this.#ready = ready;
    this.#backend = ready.reattach;
    this.#counters.kvBlocksTotal = ready.info.numBlocks;
    if (this.#state === "closed") return;
    this.#state = "ready";
    this.#started.resolve();
    this.#trials.onReady();
  }

  #onDeath(death: EngineDeath): void {
    if (this.#state === "closed") return;
    if (!this.#ready || death.sticky) {
      this.#die(death.message);
      return;
    }
    this.#state = "restarting";
    this.#choices.clear();
    const { guilty, broken } = this.#trials.onDeath(this.#restarts.record());
    if (broken || this.#restarts.isSpent) {
      this.#die(death.message);
      return;
    }
    this.#options.onNotice?.(`The engine failed and is started again: ${death.message}`);
    this.#counters.restart();
    if (guilty) {
      this.#options.onNotice?.(`The request ${guilty.request.id} is given up: the engine fails whenever it runs it.`);
      this.#fail(guilty, failure.ofCrash());
    }
    for (const live of this.#live) live.restart(() => this.#nextId++);
    try {
      this.#connection = this.#connect();
      for (const { enable } of this.#profiles) this.#connection.send({ type: "profile", enable });
    } catch (error) {
      this.#die(`The engine cannot be started again: ${error}`);
    }
  }

  #die(message: string): void {
    const error = new Error(message);
    this.#state = "fatal";
    this.#failAll(
      () => new ServeError("unavailable", "The engine has failed and is being restarted.", { cause: error }),
    );
    this.#failProfiles();
    if (this.#ready) this.#options.onFatal?.(error);
    else this.#started.reject(error);
  }

  /** Computes nothing more for a request until its reader has taken all that waits; then it goes on as after a fault. */
  #hold(live: LocalRequest): void {
    this.#withdraw(live);
    live.held = true;
    this.#trials.onGone(live);
    live.events.whenEmpty(() => {
      live.held = false;
      if (!live.isOver) this.#trials.admit(live);
    });
  }

  /** Takes a request from the engine; submitted again, it goes on where it was. */
  #withdraw(live: LocalRequest): void {
    this.#abort(live);
    live.submitted = false;
    live.restart(() => this.#nextId++);
  }

  /** The reader went away. */
  #abandon(live: LocalRequest): void {
    this.#abort(live);
    this.#over(live);
  }

  #fail(live: LocalRequest, error: ServeError): void {
    this.#abort(live);
    live.fail(error);
    this.#over(live);
  }

  #failAll(error: () => ServeError): void {
    for (const live of [...this.#live]) this.#fail(live, error());
  }

  #failProfiles(): void {
    for (const asked of this.#profiles.splice(0)) asked.reject(new ServeError("unavailable", "The engine is gone."));
  }

  /** Tells the engine to free what the request's choices hold. */
  #abort(live: LocalRequest): void {
    for (const choice of live.choices) {
      if (this.#choices.delete(choice.id) && this.#state === "ready") {
        this.#connection.send({ type: "abort", id: choice.id });
      }
    }
  }

  #over(live: LocalRequest): void {
    if (!this.#live.delete(live)) return;
    if (!live.started) this.#numNotStarted--;
    live.onOver();
    this.#trials.onGone(live);
    if (this.#drained && this.#live.size === 0) this.#drained.resolve();
  }
}
