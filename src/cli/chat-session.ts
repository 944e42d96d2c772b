import { loadSettings } from "../config/load-settings.ts";
import { ConfigError, parseInteger, parseNumber } from "../config/parse.ts";
import type { ChatEndpoint } from "./chat-client.ts";
import { connectChat } from "./chat-client.ts";

/** Flags of chat and run that are not settings of a server. */
export interface ChatFlags {
  url: string | undefined;
  system: string | undefined;
  maxTokens: number | undefined;
  temperature: number | undefined;
  seed: number | undefined;
}

const VALUE_FLAGS = ["url", "system", "max-tokens", "temperature", "seed"] as const;
type ValueFlag = (typeof VALUE_FLAGS)[number];

/** Takes the chat flags out of argv; the rest goes to loadSettings. Throws ConfigError. */
export function splitChatFlags(argv: readonly string[]): { flags: ChatFlags; rest: string[] } {
  const found = new Map<ValueFlag, string>();
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
    found.set(name, value);
  }
  const parsed = (name: ValueFlag, parse: (value: string) => number) => {
    const value = found.get(name);
    if (value === undefined) return undefined;
    try {
      return parse(value);
    } catch (error) {
      throw error instanceof ConfigError ? new ConfigError(`--${name}: ${error.message}`) : error;
    }
  };
  return {
    flags: {
      url: found.get("url"),
      system: found.get("system"),
      maxTokens: parsed("max-tokens", (value) => parseInteger(value, 1, 2 ** 31 - 1)),
      temperature: parsed("temperature", (value) => parseNumber(value, 0, 2)),
      seed: parsed("seed", (value) => parseInteger(value, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)),
    },
    rest,
  };
}

/** The fields of a chat completion request that the flags set. */
export function requestOptions(flags: ChatFlags): Record<string, unknown> {
  return {
    ...(flags.maxTokens === undefined ? {} : { max_tokens: flags.maxTokens }),
    ...(flags.temperature === undefined ? {} : { temperature: flags.temperature }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
  };
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
  const { settings, positionals } = loadSettings(rest);
  if (flags.url) {
    const endpoint = await connectChat(
      flags.url,
      settings.apiKey[0],
      settings.servedModelName || settings.model || undefined,
    );
    return { endpoint, positionals, close: async () => {} };
  }
  const { startServer } = await import("./start-server.ts");
  const model = modelFromPositional ? (positionals[0] ?? settings.model) : settings.model;
  const key = crypto.randomUUID();
  const server = await startServer({
    ...settings,
    model,
    host: "127.0.0.1",
    port: 0,
    grpc: false,
    apiKey: [key],
    logLevel: "warn",
  });
  await server.ready;
  const endpoint = await connectChat(server.url, key, undefined);
  return {
    endpoint,
    positionals: modelFromPositional ? positionals.slice(1) : positionals,
    close: () => server.stop(false),
  };
}
