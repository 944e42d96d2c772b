import type { LoadedSettings } from "./load-settings.ts";
import { ConfigError, parseApiKey } from "./parse.ts";
import { readText } from "./read-text.ts";

/** Some ten thousand keys; a larger file was given by mistake. */
const MAX_KEY_FILE_BYTES = 1024 * 1024;

/**
 * Every key of --api-key, --api-key-file and --api-key-fd together. Reads the file and the descriptor, which gives its
 * content once. Throws ConfigError that names the layer: for what cannot be read, holds no key, or one that is none.
 */
export function readApiKeys({ settings, sourceOf }: Pick<LoadedSettings, "settings" | "sourceOf">): readonly string[] {
  const { apiKey, apiKeyFile, apiKeyFd } = settings;
  return [
    ...apiKey,
    ...(apiKeyFile === "" ? [] : keysIn(apiKeyFile, `${sourceOf("apiKeyFile")}: ${apiKeyFile}`)),
    ...(apiKeyFd === "" ? [] : keysIn(Number(apiKeyFd), `${sourceOf("apiKeyFd")}: descriptor ${apiKeyFd}`)),
  ];
}

function keysIn(file: string | number, where: string): string[] {
  const keys: string[] = [];
  for (const [i, line] of readText(file, MAX_KEY_FILE_BYTES, `${where} cannot be read`).split("\n").entries()) {
    const key = line.trim();
    if (key === "" || key.startsWith("#")) continue;
    try {
      keys.push(parseApiKey(key));
    } catch (error) {
      throw new ConfigError(`${where}, line ${i + 1}: ${(error as Error).message}`);
    }
  }
  if (keys.length === 0) throw new ConfigError(`${where} holds no key`);
  return keys;
}
