import { type ChatEvent, type ClientMessage, streamChat } from "./chat-client.ts";
import { chatOptionsHelp } from "./chat-options.ts";
import { openChatSession, splitChatFlags } from "./chat-session.ts";
import { CliError, type Command, EXIT_INTERRUPTED } from "./command.ts";
import { SETTINGS_LAYERS, settingsHelp } from "./settings-help.ts";
import { terminalText } from "./terminal-text.ts";

const HELP = `Usage: scalellm run [OPTIONS] "PROMPT"

Answers one prompt and exits. Without a prompt it is read from standard input.

  scalellm run "Name three rivers."
  scalellm run --model ./model.gguf --max-tokens 50 "Why is the sky blue?"
  scalellm run --url http://127.0.0.1:8000 "Hello"

Answer
  --model FILE|FOLDER|ORG/NAME[:FILE]
                                  the model to load; default: the bundled one
  --url URL                       ask a running server instead of loading a model
  --system TEXT                   system message
${chatOptionsHelp("--", 32)}

${settingsHelp(["Model", "Engine"])}

${SETTINGS_LAYERS}
`;

export const runCommand: Command = {
  async run(argv) {
    if (argv.includes("--help") || argv.includes("-h")) {
      process.stdout.write(HELP);
      return 0;
    }
    const { flags, rest } = splitChatFlags(argv);
    const session = await openChatSession(flags, rest, false);
    try {
      const prompt = session.positionals.join(" ") || (process.stdin.isTTY ? "" : await Bun.stdin.text());
      if (!prompt.trim()) throw new CliError('no prompt given. Try: scalellm run "Name three rivers."', 2);
      const messages: ClientMessage[] = [
        ...(flags.system === undefined ? [] : [{ role: "system" as const, content: flags.system }]),
        { role: "user", content: prompt },
      ];
      // Only an answer is worth stopping gently: before it, Ctrl-C ends the process.
      const stop = new AbortController();
      process.once("SIGINT", () => stop.abort());
      return await print(streamChat(session.endpoint, messages, flags.options, stop.signal), stop);
    } finally {
      await session.close();
    }
  },
};

/** Prints the answer as it comes; Ctrl-C ends it quietly. */
async function print(answer: AsyncIterable<ChatEvent>, stop: AbortController): Promise<number> {
  try {
    for await (const event of answer)
      if (event.type === "text") process.stdout.write(terminalText(event.text, process.stdout));
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  process.stdout.write("\n");
  return stop.signal.aborted ? EXIT_INTERRUPTED : 0;
}
