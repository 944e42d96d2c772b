import { LIMITS } from "../config/limits.ts";
import { ServeError } from "../core/errors.ts";
import { workerUrl } from "../core/worker-url.ts";
import type { TextSource } from "../model/spec.ts";
import { BpeTokenizer } from "./bpe-tokenizer.ts";
import type { ChatMessage, RenderOptions } from "./chat.ts";
import { defineTokenizer } from "./define-tokenizer.ts";
import type { EncodedChat, TextService, TextTimings } from "./text-service.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type LaneOutcome, WorkerLane } from "./worker-lane.ts";
import type { OpenMessage, TextRequest } from "./worker-protocol.ts";

export interface TextServiceOptions {
  /** Tokens; texts that cannot fit are refused before they are tokenised. */
  readonly maxModelLen: number;
  /** For tests: another Worker than text/tokenizer-worker.ts. */
  readonly createWorker?: () => Worker;
}

/**
 * Throws TokenizerFormatError for a tokenizer that is not supported, ServeError unavailable where the Worker does not start.
 * The definition is made once and then loaded here and in the Worker at the same time.
 */
export async function createTextService(source: TextSource, options: TextServiceOptions): Promise<TextService> {
  const definition = defineTokenizer(source);
  const open: OpenMessage = {
    type: "open",
    encoder: definition.encoder,
    chatTemplate: source.chatTemplate,
    templateTokens: definition.templateTokens,
    maxChars: options.maxModelLen * LIMITS.maxCharsPerToken,
  };
  // `smol` saves 10 MB; the encoder's memory lies outside the JavaScript heap anyway.
  const createWorker =
    options.createWorker ?? (() => new Worker(workerUrl("text/tokenizer-worker.ts"), { smol: true }));
  const startLane = () => new WorkerLane(createWorker(), open);
  const lane = startLane();
  const tokenizer = new BpeTokenizer(definition, source.eosTokenIds);
  if (!(await lane.started)) {
    throw new ServeError("unavailable", "The tokenizer Worker did not start.", { cause: lane.cause });
  }
  return new WorkerTextService(tokenizer, open, options.maxModelLen, startLane, lane);
}

interface EncodedText extends TextTimings {
  /** As the template rendered it; undefined for a text that was encoded as it came. */
  readonly text: string | undefined;
  readonly ids: Int32Array;
}

interface Job {
  readonly request: TextRequest;
  readonly chars: number;
  readonly resolve: (result: EncodedText) => void;
  readonly reject: (error: ServeError) => void;
  /** Its client has gone. */
  abandoned: boolean;
}

/** Short texts are encoded where they come; long ones and chats go through one Worker, first come, first served. */
class WorkerTextService implements TextService {
  readonly tokenizer: Tokenizer;
  readonly #open: OpenMessage;
  readonly #maxModelLen: number;
  readonly #startLane: () => WorkerLane;
  #lane: WorkerLane;
  #queue: Job[] = [];
  #queuedChars = 0;
  #running = false;
  #closed = false;

  constructor(
    tokenizer: Tokenizer,
    open: OpenMessage,
    maxModelLen: number,
    startLane: () => WorkerLane,
    lane: WorkerLane,
  ) {
    this.tokenizer = tokenizer;
    this.#open = open;
    this.#maxModelLen = maxModelLen;
    this.#startLane = startLane;
    this.#lane = lane;
  }

  get hasChatTemplate(): boolean {
    return this.#open.chatTemplate !== undefined;
  }

  async encode(text: string, addSpecialTokens: boolean, signal?: AbortSignal): Promise<Int32Array> {
    if (text.length > this.#open.maxChars) throw this.#tooLong("prompt");
    if (text.length <= LIMITS.maxInlineTextChars) return this.tokenizer.encode(text, addSpecialTokens);
    const { ids } = await this.#enqueue({ type: "encode", text, addSpecialTokens }, text.length, signal);
    return ids;
  }

  async encodeChat(
    messages: readonly ChatMessage[],
    options: RenderOptions,
    signal?: AbortSignal,
  ): Promise<EncodedChat> {
    let chars = 0;
    for (const message of messages) chars += message.content.length;
    if (chars > this.#open.maxChars) throw this.#tooLong("messages");
    const { text, ids, templateMs, tokeniseMs } = await this.#enqueue(
      { type: "chat", messages, options },
      chars,
      signal,
    );
    return { text: text!, ids, templateMs, tokeniseMs };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#lane.close();
    for (const job of this.#queue.splice(0)) job.reject(closedError());
  }

  #enqueue(request: TextRequest, chars: number, signal: AbortSignal | undefined): Promise<EncodedText> {
    if (this.#closed) return Promise.reject(closedError());
    if (signal?.aborted) return Promise.reject(cancelledError());
    if (this.#queue.length >= LIMITS.maxQueuedTexts || this.#queuedChars + chars > LIMITS.maxQueuedTextChars) {
      return Promise.reject(
        new ServeError("overloaded", "Too many texts wait to be tokenised.", { reason: "queue_full", retryAfterS: 1 }),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<EncodedText>();
    const job: Job = { request, chars, resolve, reject, abandoned: false };
    this.#queue.push(job);
    this.#queuedChars += chars;
    const onAbort = () => {
      job.abandoned = true;
      reject(cancelledError());
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    void this.#pump();
    return promise.finally(() => signal?.removeEventListener("abort", onAbort));
  }

  async #pump(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      if (!job.abandoned) await this.#work(job);
      this.#queuedChars -= job.chars;
    }
    this.#running = false;
  }

  async #work(job: Job): Promise<void> {
    let outcome = await this.#attempt(job.request);
    // A Worker may die for reasons of its own (memory); a request that kills two is not tried again.
    if (outcome.type === "died" && !job.abandoned) outcome = await this.#attempt(job.request);
    if (outcome.type === "encoded") job.resolve(outcome);
    else job.reject(this.#error(outcome, job.request));
  }

  async #attempt(request: TextRequest): Promise<LaneOutcome> {
    if (this.#closed) return { type: "died", cause: "closed" };
    if (this.#lane.closed) this.#lane = this.#startLane();
    const outcome = await this.#lane.run(request);
    const worn =
      (outcome.type === "encoded" && outcome.encoderBytes > LIMITS.maxEncoderBytes) ||
      (outcome.type === "failed" && outcome.reason === "encoder");
    if (worn) this.#lane.close();
    // Start the next one now, not when a request waits for it.
    if (this.#lane.closed && !this.#closed) this.#lane = this.#startLane();
    return outcome;
  }

  #error(outcome: Exclude<LaneOutcome, { type: "encoded" }>, request: TextRequest): ServeError {
    const param = request.type === "chat" ? "messages" : "prompt";
    if (outcome.type === "died") {
      if (this.#closed) return closedError();
      return new ServeError("internal", "The tokenizer failed on this text.", { param, cause: outcome.cause });
    }
    if (outcome.type === "overran") {
      const what =
        outcome.stage === "template"
          ? `The chat template ran longer than ${LIMITS.templateDeadlineMs} ms on these messages.`
          : "Tokenising this text took too long.";
      return new ServeError("invalid_argument", what, { param, reason: `${outcome.stage}_deadline` });
    }
    switch (outcome.reason) {
      case "template":
        return new ServeError("invalid_argument", outcome.message, { param, reason: "chat_template_error" });
      case "too_long":
        return this.#tooLong(param);
      case "encoder":
        return new ServeError("invalid_argument", "A part of the text is too long without a break to be tokenised.", {
          param,
          reason: "text_not_tokenizable",
        });
    }
  }

  #tooLong(param: string): ServeError {
    return new ServeError(
      "invalid_argument",
      `This model's maximum context length is ${this.#maxModelLen} tokens; the text has more than ` +
        `${this.#open.maxChars} characters and cannot fit.`,
      { param, reason: "context_length_exceeded" },
    );
  }
}

function closedError(): ServeError {
  return new ServeError("unavailable", "The server is shutting down.");
}

function cancelledError(): ServeError {
  return new ServeError("cancelled", "The request was cancelled.");
}
