import { createInterface } from "node:readline/promises";
import { wantsColor } from "../config/environment.ts";
import { type ClientMessage, streamChat } from "./chat-client.ts";
import { type ChatSession, openChatSession, requestOptions, splitChatFlags } from "./chat-session.ts";
import { CliError, type Command } from "./command.ts";
import { SETTINGS_LAYERS, settingsHelp } from "./settings-help.ts";

const HELP = `Usage: scalellm chat [MODEL] [OPTIONS]

Chats in the terminal, with a model loaded here or with a running server.

  scalellm chat
  scalellm chat ./model.gguf --system "Answer in one sentence."
  scalellm chat --url http://127.0.0.1:8000

In the chat: /reset forgets the conversation, /system TEXT sets the system message, /exit leaves;
Ctrl-C stops an answer, and leaves when there is none.

Answer
  --url URL                       talk to a running server instead of loading a model
  --system TEXT                   system message
  --max-tokens N                  most tokens of an answer
  --temperature T                 0 is greedy
  --seed N                        the same seed gives the same answers

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
      await converse(session, flags.system, requestOptions(flags));
      return 0;
    } finally {
      await session.close();
    }
  },
};

async function converse(
  session: ChatSession,
  system: string | undefined,
  options: Record<string, unknown>,
): Promise<void> {
  const color = wantsColor(process.stdout);
  const dim = (text: string) => (color ? `\x1b[2m${text}\x1b[0m` : text);
  const terminal = createInterface({ input: process.stdin, output: process.stdout, terminal: process.stdin.isTTY });
  let messages: ClientMessage[] = [];
  const reset = () => {
    messages = system === undefined ? [] : [{ role: "system", content: system }];
  };
  reset();
  let answering: AbortController | undefined;
  terminal.on("SIGINT", () => (answering ? answering.abort() : terminal.close()));
  process.stdout.write(dim(`${session.endpoint.model} · /reset, /system TEXT, /exit\n`));
  terminal.setPrompt(color ? "\x1b[1m> \x1b[0m" : "> ");
  terminal.prompt();
  for await (const line of terminal) {
    const input = line.trim();
    if (input === "/exit" || input === "/quit") break;
    if (input === "/reset") {
      reset();
    } else if (input.startsWith("/system")) {
      system = input.slice("/system".length).trim() || undefined;
      reset();
    } else if (input.startsWith("/")) {
      process.stdout.write(dim("Commands: /reset, /system TEXT, /exit\n"));
    } else if (input) {
      messages.push({ role: "user", content: input });
      answering = new AbortController();
      messages.push({ role: "assistant", content: await answer(session, messages, options, answering.signal) });
      answering = undefined;
    }
    terminal.prompt();
  }
  terminal.close();
}

/** Prints an answer as it comes; what came before a stop or an error stays in the conversation. */
async function answer(
  session: ChatSession,
  messages: readonly ClientMessage[],
  options: Record<string, unknown>,
  signal: AbortSignal,
): Promise<string> {
  let content = "";
  try {
    for await (const text of streamChat(session.endpoint, messages, options, signal)) {
      process.stdout.write(text);
      content += text;
    }
  } catch (error) {
    if (!signal.aborted && !(error instanceof CliError)) throw error;
    if (error instanceof CliError) process.stderr.write(`\n${error.message}`);
  }
  process.stdout.write("\n");
  return content;
}
