import { type ChatEndpoint, type ChatEvent, type ClientMessage, ContextFullError, streamChat } from "./chat-client.ts";
import { CliError } from "./command.ts";

/** What was said and answered, and about how many tokens of the context it takes. */
interface Turn {
  readonly question: string;
  readonly answer: string;
  readonly tokens: number;
}

/** Room kept for an answer: what --max-tokens says or this, but at most a quarter of the context. */
const ANSWER_TOKENS = 512;
const ANSWER_SHARE = 1 / 4;
/** Characters a token: an estimate for a question that nobody has counted yet; the server's refusal is the real check. */
const CHARS_PER_TOKEN = 3;

export type ConversationEvent = ChatEvent | { readonly type: "forgotten"; readonly numTurns: number };

/**
 * A conversation that fits the model's context: its oldest turns are forgotten when there is no room for the next answer.
 * A turn that fails leaves no trace.
 */
export class Conversation {
  system: string | undefined;
  /** Fields of the request: temperature and the like. */
  readonly options: Record<string, unknown>;
  readonly #endpoint: ChatEndpoint;
  #turns: Turn[] = [];

  constructor(endpoint: ChatEndpoint, system: string | undefined, options: Readonly<Record<string, unknown>>) {
    this.#endpoint = endpoint;
    this.system = system;
    this.options = { ...options };
  }

  get numTurns(): number {
    return this.#turns.length;
  }

  /** Forgets what was said; the system message and the options stay. */
  clear(): void {
    this.#turns = [];
  }

  /**
   * Asks, and keeps question and answer when the answer ends or `signal` stops it in the middle. Throws CliError, or the
   * signal's reason where nothing was answered yet; the question is forgotten then.
   */
  async *ask(question: string, signal: AbortSignal): AsyncGenerator<ConversationEvent> {
    const forgotten = this.#makeRoom(question);
    if (forgotten > 0) yield { type: "forgotten", numTurns: forgotten };
    for (;;) {
      try {
        yield* this.#answer(question, signal);
        return;
      } catch (error) {
        if (!(error instanceof ContextFullError)) throw error;
        if (this.#turns.length === 0) throw new CliError(`the message does not fit the model: ${error.message}`);
        // The estimate was too low: half of what is left goes, so that few tries are enough.
        const numTurns = Math.ceil(this.#turns.length / 2);
        this.#turns.splice(0, numTurns);
        yield { type: "forgotten", numTurns };
      }
    }
  }

  async *#answer(question: string, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    let answer = "";
    let tokens = estimate(question);
    try {
      for await (const event of streamChat(this.#endpoint, this.#messages(question), this.options, signal)) {
        if (event.type === "text") answer += event.text;
        else if (event.usage)
          tokens = Math.max(0, event.usage.promptTokens + event.usage.completionTokens - this.#tokens());
        yield event;
      }
    } catch (error) {
      if (answer === "" || !signal.aborted) throw error;
      tokens += estimate(answer);
    }
    this.#turns.push({ question, answer, tokens });
  }

  #messages(question: string): ClientMessage[] {
    return [
      ...(this.system === undefined ? [] : [{ role: "system" as const, content: this.system }]),
      ...this.#turns.flatMap((turn) => [
        { role: "user" as const, content: turn.question },
        { role: "assistant" as const, content: turn.answer },
      ]),
      { role: "user", content: question },
    ];
  }

  /**
   * Forgets the oldest turns until the question and an answer have room; the number of them. A turn's tokens are what it
   * added to the server's count, so the first holds the system message, too: the count is right until turns are forgotten.
   */
  #makeRoom(question: string): number {
    const { maxModelLen } = this.#endpoint;
    if (maxModelLen === undefined) return 0;
    const asked = Number(this.options.max_tokens ?? ANSWER_TOKENS);
    const room = maxModelLen - estimate(question) - Math.min(asked, maxModelLen * ANSWER_SHARE);
    let numForgotten = 0;
    while (this.#turns.length > 0 && this.#tokens() > room) {
      this.#turns.shift();
      numForgotten++;
    }
    return numForgotten;
  }

  #tokens(): number {
    return this.#turns.reduce((sum, turn) => sum + turn.tokens, 0);
  }
}

function estimate(text: string): number {
  return Math.ceil(text.length / CHARS_PER_TOKEN);
}
