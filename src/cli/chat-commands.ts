import { ConfigError } from "../config/parse.ts";
import { nearestName } from "../core/nearest-name.ts";
import { CHAT_OPTION_NAMES, chatOptionName, chatOptionsHelp, fieldOf, parseChatOption } from "./chat-options.ts";
import type { Conversation } from "./conversation.ts";

const HELP = `Commands
  /set NAME VALUE         choose how to answer, as in /set temperature 0.5; without VALUE: the model's own again
  /set                    show what is chosen
  /system TEXT            set the system message and begin anew; without TEXT: none
  /clear                  forget the conversation (/reset, /new)
  /help                   this list (/?)
  /exit                   leave (/quit, /bye, Ctrl-D)

Options of /set
${chatOptionsHelp("", 26)}

A pasted text of several lines is one message; end a line with \\ to go on in the next.
Ctrl-C stops an answer or drops what is typed; pressed twice on an empty line it leaves.
`;

/** All names of each command. */
const COMMANDS: Readonly<Record<string, "set" | "system" | "clear" | "help" | "exit">> = {
  set: "set",
  system: "system",
  clear: "clear",
  reset: "clear",
  new: "clear",
  help: "help",
  "?": "help",
  exit: "exit",
  quit: "exit",
  bye: "exit",
};

/** "said": the message was a command, and what to print. "message": it is for the model. */
export type CommandOutcome = { kind: "exit" } | { kind: "message" } | { kind: "said"; text: string };

/** Runs a line that begins with a slash and a word; a path such as /etc/hosts, or text of several lines, is no command. */
export function runChatCommand(input: string, conversation: Conversation): CommandOutcome {
  const match = /^\/(\?|[A-Za-z]+)(?:[ \t]+([\s\S]*))?$/.exec(input);
  if (match === null) return { kind: "message" };
  const name = match[1]!.toLowerCase();
  const rest = (match[2] ?? "").trim();
  if (!Object.hasOwn(COMMANDS, name)) {
    const meant = nearestName(name, Object.keys(COMMANDS));
    const hint = meant === undefined ? "/help lists the commands." : `Did you mean /${meant}?`;
    return said(`There is no command /${name}. ${hint}\n`);
  }
  switch (COMMANDS[name]!) {
    case "exit":
      return { kind: "exit" };
    case "help":
      return said(HELP);
    case "clear":
      conversation.clear();
      return said("The conversation is forgotten.\n");
    case "system":
      conversation.system = rest === "" ? undefined : rest;
      conversation.clear();
      return said(
        `${rest === "" ? "No system message" : "The system message is set"}; the conversation begins anew.\n`,
      );
    case "set":
      return said(set(rest, conversation.options));
  }
}

function said(text: string): CommandOutcome {
  return { kind: "said", text };
}

/** `temperature 0.5`, `temperature=0.5`, `temperature`, or nothing. */
function set(text: string, options: Record<string, unknown>): string {
  if (text === "") {
    const chosen = CHAT_OPTION_NAMES.filter((name) => options[fieldOf(name)] !== undefined);
    if (chosen.length === 0) return "Nothing is set: the model's own defaults hold.\n";
    return chosen.map((name) => `${name} ${options[fieldOf(name)]}\n`).join("");
  }
  const [typed = "", ...values] = text.split(/[\s=]+/);
  try {
    const name = chatOptionName(typed);
    if (values.length === 0) {
      delete options[fieldOf(name)];
      return `${name} is the model's own.\n`;
    }
    const value = parseChatOption(name, values.join(" "));
    options[fieldOf(name)] = value;
    return `${name} is ${value}.\n`;
  } catch (error) {
    if (error instanceof ConfigError) return `/set ${text}: ${error.message}\n`;
    throw error;
  }
}
