import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const BINARY = resolve("dist/scalellm");
export const MODEL_NAME = "smollm2-135m-instruct";

/** The built server under test: real binary, real model, free ports. */
export interface RunningBinary {
  readonly url: string;
  /** host:port of native gRPC. */
  readonly grpc: string;
  readonly process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  /** What it printed so far. */
  output(): string;
  /** Sends a signal and resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number>;
}

/**
 * The process that a supervisor started last; 0 where there is none. It may have others: what a shell left to it that
 * became the supervisor, and a server that died and has not been reaped.
 */
export async function childOf(supervisor: { readonly pid: number }): Promise<number> {
  return Number(await Bun.$`pgrep -n -P ${supervisor.pid}`.nothrow().text());
}

/** A server whose model is on its way from a hub, and never comes. */
export interface LoadingBinary {
  readonly process: Bun.Subprocess<"ignore", "ignore", "ignore">;
  /** Ends the hub. The process must have ended. */
  close(): Promise<void>;
}

/** Starts `scalellm serve` and resolves once it has asked for its model. */
export async function startLoadingBinary(): Promise<LoadingBinary> {
  const asked = Promise.withResolvers<void>();
  const hub = Bun.serve({
    port: 0,
    fetch() {
      asked.resolve();
      return new Promise<Response>(() => {});
    },
  });
  const cache = mkdtempSync(join(tmpdir(), "scalellm-loading-"));
  const child = Bun.spawn([BINARY, "serve", "org/model", "--port", "0", "--no-grpc"], {
    env: { PATH: process.env.PATH ?? "", HOME: cache, HF_HOME: cache, HF_ENDPOINT: hub.url.href },
    stdio: ["ignore", "ignore", "ignore"],
  });
  await asked.promise;
  return {
    process: child,
    async close() {
      await hub.stop(true);
      rmSync(cache, { recursive: true });
    },
  };
}

/**
 * Starts `scalellm serve` in an empty folder and resolves once its banner is out. Throws with its output otherwise.
 * `command`: what to start in place of the binary.
 */
export async function startBinary(
  args: readonly string[] = [],
  env: Record<string, string> = {},
  cwd?: string,
  command: readonly string[] = [BINARY],
): Promise<RunningBinary> {
  const folder = cwd ?? mkdtempSync(join(tmpdir(), "scalellm-e2e-"));
  const child = Bun.spawn([...command, "serve", "--port", "0", "--grpc-port", "0", ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? "", HOME: folder, TMPDIR: tmpdir(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  const collect = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) text += decoder.decode(bytes, { stream: true });
  };
  const done = Promise.all([collect(child.stdout), collect(child.stderr)]);
  const ready = () => /HTTP\s+(http:\S+?)(\/v1)?\s/.exec(text) && text.includes("curl");
  while (!ready() && child.exitCode === null && child.signalCode === null) await Bun.sleep(10);
  if (!ready()) {
    await done;
    throw new Error(`scalellm serve ended with ${child.exitCode}:\n${text}`);
  }
  return {
    url: /HTTP\s+(http:\/\/[^\s/]+)/.exec(text)![1]!,
    grpc: /gRPC\s+(\S+)/.exec(text)?.[1] ?? "",
    process: child,
    output: () => text,
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      const code = await child.exited;
      await done;
      if (!cwd) rmSync(folder, { recursive: true, force: true });
      return code;
    },
  };
}
