import { homedir } from "node:os";
import { join } from "node:path";

/** Variables that other tools define too, read here and nowhere else. */
export interface HubEnvironment {
  /** Access token of the model hub. */
  readonly token: string | undefined;
  readonly endpoint: string;
  /** Cache folder shared with other tools (`HF_HUB_CACHE`, or `HF_HOME`/hub). */
  readonly cacheDir: string;
}

export function hubEnvironment(env: Record<string, string | undefined> = process.env): HubEnvironment {
  const home = env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
  return {
    token: env.HF_TOKEN || undefined,
    endpoint: (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, ""),
    cacheDir: env.HF_HUB_CACHE ?? join(home, "hub"),
  };
}

/** Set by `serve` in the child it supervises: "1", or a Restart as JSON. */
export const SUPERVISED = "SCALELLM_SUPERVISED";

/** What a server that died leaves to the one in its place. */
export interface Restart {
  readonly port: number;
  /** 0 without gRPC. */
  readonly grpcPort: number;
  /** When clients that meet the model loading should come again. */
  readonly retryAfterS: number;
}

export function isSupervisedChild(): boolean {
  return process.env[SUPERVISED] !== undefined;
}

/** In a supervised child that follows one that died. */
export function restartOf(env: Record<string, string | undefined> = process.env): Restart | undefined {
  const value = env[SUPERVISED];
  return value?.startsWith("{") ? (JSON.parse(value) as Restart) : undefined;
}

/** The environment of a supervised child, without the variables named. */
export function supervisedEnvironment(
  without: readonly string[],
  restart: Restart | undefined,
): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(([name]) => !without.includes(name));
  return { ...Object.fromEntries(kept), [SUPERVISED]: restart === undefined ? "1" : JSON.stringify(restart) };
}

/** Colours only where a person reads them (https://no-color.org). */
export function wantsColor(stream: { isTTY?: boolean }): boolean {
  return Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}
