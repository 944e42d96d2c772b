import { readFileSync } from "node:fs";
import { failureReason } from "../core/failure-reason.ts";
import type { LoadedSettings } from "./load-settings.ts";
import { ConfigError, parseApiKey } from "./parse.ts";

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
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`${where} cannot be read: ${failureReason(error)}`);
  }
  if (text.length > MAX_KEY_FILE_BYTES) throw new ConfigError(`${where} is larger than ${MAX_KEY_FILE_BYTES} bytes`);
  const keys: string[] = [];
  for (const [i, line] of text.split("\n").entries()) {
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
