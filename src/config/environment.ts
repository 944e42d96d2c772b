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

/** Set by `serve` in the child it supervises. */
export const SUPERVISED = "SCALELLM_SUPERVISED";

export function isSupervisedChild(): boolean {
  return process.env[SUPERVISED] === "1";
}

/** The environment of a supervised child, without the variables named. */
export function supervisedEnvironment(without: readonly string[]): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(([name]) => !without.includes(name));
  return { ...Object.fromEntries(kept), [SUPERVISED]: "1" };
}

/** Colours only where a person reads them (https://no-color.org). */
export function wantsColor(stream: { isTTY?: boolean }): boolean {
  return Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}
