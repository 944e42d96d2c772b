import { LIMITS, type Limits } from "../config/limits.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { ServeError } from "../core/errors.ts";
import { workerUrl } from "../core/worker-url.ts";
import type { TextSource } from "../model/spec.ts";
import { BpeTokenizer } from "./bpe-tokenizer.ts";
import type { ChatMessage, RenderOptions } from "./chat.ts";
import { defineTokenizer } from "./define-tokenizer.ts";
import { type LeastTokens, leastTokens } from "./least-tokens.ts";
import { measureChat } from "./measure-chat.ts";
import { TextLanes } from "./text-lanes.ts";
import type { EncodedChat, TextService } from "./text-service.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type LaneOutcome, WorkerLane } from "./worker-lane.ts";
import type { FailureReason, OpenMessage, TextRequest } from "./worker-protocol.ts";

export interface TextServiceOptions {
  /** Tokens; texts that cannot fit are refused before they are tokenised. */
  readonly maxModelLen: number;
  /** For tests: another Worker than text/tokenizer-worker.ts. */
  readonly createWorker?: () => Worker;
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
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
    maxTemplateChars: Math.min(
      LIMITS.maxTemplateChars,
      Math.max(LIMITS.minMaxTemplateChars, options.maxModelLen * LIMITS.templateCharsPerToken),
    ),
  };
  // `smol` saves 10 MB; the encoder's memory lies outside the JavaScript heap anyway.
  const createWorker =
    options.createWorker ?? (() => new Worker(workerUrl("text/tokenizer-worker.ts"), { smol: true }));
  const limits = { ...LIMITS, ...options.limits };
  const startLane = () => new WorkerLane(createWorker(), open, limits);
  const lane = startLane();
  const tokenizer = new BpeTokenizer(definition, source.eosTokenIds);
  if (!(await lane.started)) {
    throw new ServeError("unavailable", "The tokenizer Worker did not start.", { cause: lane.cause });
  }
  const lanes = new TextLanes({ startLane, limits, clock: options.clock ?? systemClock }, lane);
  return new WorkerTextService(tokenizer, open, options.maxModelLen, lanes);
}

type Encoded = Extract<LaneOutcome, { type: "encoded" }>;

/** Short texts are encoded where they come; long ones and chats go through the tokenizer Workers. */
class WorkerTextService implements TextService {
  readonly tokenizer: Tokenizer;
  readonly #open: OpenMessage;
  readonly #maxModelLen: number;
  readonly #lanes: TextLanes;
  readonly #leastTokens: LeastTokens;
  #closed = false;

  constructor(tokenizer: Tokenizer, open: OpenMessage, maxModelLen: number, lanes: TextLanes) {
    this.tokenizer = tokenizer;
    this.#open = open;
    this.#maxModelLen = maxModelLen;
    this.#lanes = lanes;
    this.#leastTokens = leastTokens(open.encoder);
  }

  get hasChatTemplate(): boolean {
    return this.#open.chatTemplate !== undefined;
  }

  get ready(): boolean {
    return this.#lanes.ready;
  }

  async encode(text: string, addSpecialTokens: boolean, signal?: AbortSignal, tenant = ""): Promise<Int32Array> {
    this.#refuseTooLong([text], "prompt");
    if (text.length <= LIMITS.maxInlineTextChars) return this.tokenizer.encode(text, addSpecialTokens);
    const { ids } = await this.#run({ type: "encode", text, addSpecialTokens }, text.length, signal, tenant);
    return ids;
  }

  async encodeChat(
    messages: readonly ChatMessage[],
    options: RenderOptions,
    signal?: AbortSignal,
    tenant = "",
  ): Promise<EncodedChat> {
    const contents = messages.map((message) => message.content);
    this.#refuseTooLong(contents, "messages");
    const chars = measureChat(messages, options);
    const encoded = await this.#run({ type: "chat", messages, options }, chars, signal, tenant);
    return {
      text: encoded.text!,
      ids: encoded.ids,
      templateMs: encoded.templateMs,
      tokeniseMs: encoded.tokeniseMs,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#lanes.close();
  }

  async #run(request: TextRequest, chars: number, signal: AbortSignal | undefined, tenant: string): Promise<Encoded> {
    const work = { request, chars, tenant };
    if (this.#closed) throw closedError();
    if (signal?.aborted) throw cancelledError();
    if (!this.#lanes.canTake(work)) {
      throw new ServeError("overloaded", "Too many texts wait to be tokenised.", {
        reason: "queue_full",
        retryAfterS: 1,
      });
    }
    const outcome = await this.#lanes.run(work, signal);
    if (outcome === undefined) throw cancelledError();
    if (outcome.type !== "encoded") throw this.#error(outcome, request);
    return outcome;
  }

  /** Together. */
  #refuseTooLong(texts: readonly string[], param: string): void {
    let chars = 0;
    for (const text of texts) chars += text.length;
    if (chars > this.#open.maxChars) throw this.#tooLong(param);
    const enough = this.#maxModelLen * LIMITS.maxContextsOfText;
    let tokens = 0;
    // Fewer tokens than characters: most texts need no look.
    if (chars > enough) for (const text of texts) tokens += this.#leastTokens(text, enough - tokens);
    if (tokens >= enough) {
      throw new ServeError(
        "invalid_argument",
        `This model's maximum context length is ${this.#maxModelLen} tokens; the text has more than ${enough}.`,
        { param, reason: "context_length_exceeded" },
      );
    }
  }

  #error(outcome: Exclude<LaneOutcome, { type: "encoded" }>, request: TextRequest): ServeError {
    const param = request.type === "chat" ? "messages" : "prompt";
    if (this.#closed) return closedError();
    switch (outcome.type) {
      case "absent":
        return new ServeError("unavailable", "No tokenizer Worker can be started.", { cause: outcome.cause });
      case "unsent":
      case "died":
        return new ServeError("internal", "The tokenizer failed on this text.", {
          param,
          // It takes the Workers with it that it is tried on.
          final: outcome.type === "died",
          cause: outcome.cause,
        });
      case "overran": {
        const what =
          outcome.stage === "template"
            ? `The chat template ran longer than ${LIMITS.templateDeadlineMs} ms on these messages.`
            : "Tokenising this text took too long.";
        return new ServeError("invalid_argument", what, { param, reason: `${outcome.stage}_deadline` });
      }
      case "failed":
        return this.#refusal(outcome.reason, outcome.message, param);
    }
  }

  #refusal(reason: FailureReason, message: string, param: string): ServeError {
    switch (reason) {
      case "template":
        return new ServeError("invalid_argument", message, { param, reason: "chat_template_error" });
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
