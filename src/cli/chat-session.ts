import { loadSettings } from "../config/load-settings.ts";
import { ConfigError } from "../config/parse.ts";
import { readApiKeys } from "../config/read-api-keys.ts";
import { type ChatEndpoint, connectChat } from "./chat-client.ts";
import { CHAT_OPTION_NAMES, type ChatOptionName, fieldOf, parseChatOption } from "./chat-options.ts";
import { startPrivateServer } from "./private-server.ts";

/** Flags of chat and run that are not settings of a server. */
export interface ChatFlags {
  url: string | undefined;
  system: string | undefined;
  /** The fields of a chat completion request that the flags set. */
  options: Record<string, number>;
}

const VALUE_FLAGS = ["url", "system", ...CHAT_OPTION_NAMES] as const;

/** Takes the chat flags out of argv; the rest goes to loadSettings. Throws ConfigError. */
export function splitChatFlags(argv: readonly string[]): { flags: ChatFlags; rest: string[] } {
  const flags: ChatFlags = { url: undefined, system: undefined, options: {} };
  const rest: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (arg === "--") {
      rest.push(...argv.slice(i));
      break;
    }
    const name = VALUE_FLAGS.find((flag) => arg === `--${flag}` || arg.startsWith(`--${flag}=`));
    if (!name) {
      rest.push(arg);
      continue;
    }
    const value = arg.includes("=") ? arg.slice(name.length + 3) : argv[++i];
    if (value === undefined) throw new ConfigError(`--${name} needs a value`);
    if (name === "url" || name === "system") flags[name] = value;
    else flags.options[fieldOf(name)] = parseFlag(name, value);
  }
  return { flags, rest };
}

function parseFlag(name: ChatOptionName, value: string): number {
  try {
    return parseChatOption(name, value);
  } catch (error) {
    throw error instanceof ConfigError ? new ConfigError(`--${name}: ${error.message}`) : error;
  }
}

export interface ChatSession {
  readonly endpoint: ChatEndpoint;
  readonly positionals: readonly string[];
  close(): Promise<void>;
}

/**
 * A chat endpoint: the server at --url, or one started in this process on a free loopback port behind a random key, so
 * that both run the same path a client does. `modelFromPositional` says whether the first positional names the model.
 */
export async function openChatSession(
  flags: ChatFlags,
  rest: readonly string[],
  modelFromPositional: boolean,
): Promise<ChatSession> {
  const loaded = loadSettings(rest, undefined, VALUE_FLAGS);
  const { settings, positionals } = loaded;
  const [named, ...others] = positionals;
  const model = modelFromPositional ? (named ?? settings.model) : settings.model;
  const left = modelFromPositional ? others : positionals;
  if (flags.url !== undefined) {
    const name = settings.servedModelName || model || undefined;
    const endpoint = await connectChat(flags.url, readApiKeys(loaded)[0], name);
    return { endpoint, positionals: left, close: async () => {} };
  }
  const server = await startPrivateServer({ ...settings, model });
  const { label, baseUrl } = server.endpoint;
  const { maxModelLen } = server;
  const endpoint = { url: baseUrl.origin, apiKey: server.apiKey, model: label, label: "the model", maxModelLen };
  return { endpoint, positionals: left, close: () => server.stop() };
}
