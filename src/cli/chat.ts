import { wantsColor } from "../config/environment.ts";
import { systemClock } from "../core/clock.ts";
import { runChatCommand } from "./chat-commands.ts";
import { ChatInput } from "./chat-input.ts";
import { chatOptionsHelp } from "./chat-options.ts";
import { type ChatSession, openChatSession, splitChatFlags } from "./chat-session.ts";
import { CliError, type Command, EXIT_INTERRUPTED } from "./command.ts";
import { Conversation, type ConversationEvent } from "./conversation.ts";
import { SETTINGS_LAYERS, settingsHelp } from "./settings-help.ts";
import { terminalText } from "./terminal-text.ts";
import { WordWrap } from "./word-wrap.ts";

const HELP = `Usage: scalellm chat [MODEL] [OPTIONS]

Chats in the terminal, with a model loaded here or with a running server. In a pipe, each line is a message.

  scalellm chat
  scalellm chat ./model.gguf --system "Answer in one sentence."
  scalellm chat --url http://127.0.0.1:8000

In the chat, /help lists the commands: /set temperature 0.5, /system TEXT, /clear, /exit. Pasted lines are one message.
Ctrl-C stops an answer. The oldest turns are forgotten when the model's context is full.

Answer
  --url URL                       talk to a running server instead of loading a model
  --system TEXT                   system message
${chatOptionsHelp("--", 32)}

${settingsHelp(["Model", "Engine"])}

${SETTINGS_LAYERS}
`;

export const chatCommand: Command = {
  async run(argv) {
    if (argv.includes("--help") || argv.includes("-h")) {
      process.stdout.write(HELP);
      return 0;
    }
    const { flags, rest } = splitChatFlags(argv);
    const session = await openChatSession(flags, rest, true);
    try {
      if (session.positionals.length > 0)
        throw new CliError(
          `expected one model, got also ${session.positionals.join(" ")}; for one answer: scalellm run`,
          2,
        );
      return await new Chat(session, new Conversation(session.endpoint, flags.system, flags.options)).run();
    } finally {
      await session.close();
    }
  },
};

/** The dialogue of one person with one model. */
class Chat {
  readonly #session: ChatSession;
  readonly #conversation: Conversation;
  readonly #interactive = process.stdin.isTTY === true && process.stdout.isTTY === true;
  readonly #input: ChatInput;
  #answering: AbortController | undefined;
  #askedToLeave = false;
  #exitCode = 0;

  constructor(session: ChatSession, conversation: Conversation) {
    this.#session = session;
    this.#conversation = conversation;
    this.#input = new ChatInput({
      input: process.stdin,
      output: process.stdout,
      prompt: wantsColor(process.stdout) ? "\x1b[1m> \x1b[0m" : "> ",
      onInterrupt: (dropped) => this.#onInterrupt(dropped),
    });
  }

  async run(): Promise<number> {
    // A signal from elsewhere, or Ctrl-C where standard input is a pipe.
    const onSignal = () => {
      if (this.#answering) return this.#answering.abort();
      this.#exitCode = EXIT_INTERRUPTED;
      this.#input.close();
    };
    process.on("SIGINT", onSignal);
    if (this.#interactive) this.#note(`${this.#session.endpoint.model} · /help lists the commands`);
    this.#input.prompt();
    for await (const message of this.#input) {
      this.#askedToLeave = false;
      if (message.trim() !== "" && !(await this.#take(message.trim()))) break;
      this.#input.prompt();
    }
    this.#input.close();
    process.removeListener("SIGINT", onSignal);
    return this.#exitCode;
  }

  /** False when the person leaves. */
  async #take(message: string): Promise<boolean> {
    const outcome = runChatCommand(message, this.#conversation);
    if (outcome.kind === "exit") return false;
    if (outcome.kind === "said") process.stderr.write(outcome.text);
    else await this.#answer(message);
    return true;
  }

  async #answer(message: string): Promise<void> {
    const abort = new AbortController();
    this.#answering = abort;
    const wrap = new WordWrap(() => (process.stdout.isTTY ? process.stdout.columns || Infinity : Infinity));
    const speed = new Speed();
    try {
      for await (const event of this.#conversation.ask(message, abort.signal)) {
        speed.take(event);
        if (event.type === "text") process.stdout.write(wrap.push(terminalText(event.text, process.stdout)));
        else if (event.type === "forgotten") this.#note(forgottenNote(event.numTurns));
      }
      process.stdout.write(`${wrap.flush()}\n`);
      this.#afterAnswer(speed, abort.signal.aborted);
    } catch (error) {
      process.stdout.write(`${wrap.flush()}\n`);
      if (!abort.signal.aborted && !(error instanceof CliError)) throw error;
      if (abort.signal.aborted) return this.#note("stopped; the message is dropped");
      // A pipe that got no answer to a message says so by its exit code.
      if (!this.#interactive) this.#exitCode = 1;
      process.stderr.write(`${terminalText((error as Error).message, process.stderr)} (the message is dropped)\n`);
    } finally {
      this.#answering = undefined;
    }
  }

  #afterAnswer(speed: Speed, stopped: boolean): void {
    const figures = speed.describe();
    if (this.#interactive) this.#note([...(stopped ? ["stopped"] : []), ...figures].join(", "));
  }

  #onInterrupt(dropped: boolean): boolean {
    if (this.#answering) {
      this.#answering.abort();
      return true;
    }
    if (!dropped && this.#askedToLeave) return false;
    process.stdout.write("\n");
    this.#askedToLeave = !dropped;
    if (!dropped) this.#note("Ctrl-C again, Ctrl-D or /exit leaves");
    this.#input.prompt();
    return true;
  }

  /** What is beside the conversation goes to standard error, so that a pipe has the answers alone. */
  #note(text: string): void {
    if (text !== "") process.stderr.write(wantsColor(process.stderr) ? `\x1b[2m${text}\x1b[0m\n` : `${text}\n`);
  }
}

function forgottenNote(numTurns: number): string {
  const what =
    numTurns === 1 ? "the oldest question and its answer are" : `the ${numTurns} oldest questions and answers are`;
  return `the model's context is full: ${what} forgotten`;
}

/** Tokens of an answer, and how fast they came after the first. */
class Speed {
  #firstMs: number | undefined;
  #lastMs = 0;
  #tokens: number | undefined;
  #finishReason: string | undefined;

  take(event: ConversationEvent): void {
    if (event.type === "text") {
      this.#lastMs = systemClock.nowMs();
      this.#firstMs ??= this.#lastMs;
    } else if (event.type === "end") {
      this.#tokens = event.usage?.completionTokens;
      this.#finishReason = event.finishReason;
    }
  }

  describe(): string[] {
    const seconds = (this.#lastMs - (this.#firstMs ?? this.#lastMs)) / 1000;
    const perS = this.#tokens !== undefined && seconds > 0 ? (this.#tokens - 1) / seconds : undefined;
    return [
      ...(this.#tokens === undefined ? [] : [this.#tokens === 1 ? "1 token" : `${this.#tokens} tokens`]),
      ...(perS === undefined || perS <= 0 ? [] : [`${perS.toFixed(perS < 10 ? 1 : 0)} tokens/s`]),
      ...(this.#finishReason === "length" ? ["cut at its greatest length"] : []),
    ];
  }
}
