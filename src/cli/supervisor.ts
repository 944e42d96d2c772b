import { supervisedEnvironment } from "../config/environment.ts";
import { SECRET_VARIABLES, withoutSecrets } from "../config/load-settings.ts";
import type { Clock } from "../core/clock.ts";
import { CliError } from "./command.ts";

/** First pause before a restart; doubles up to the most, and is forgotten after a healthy while. */
const FIRST_PAUSE_MS = 200;
const MOST_PAUSE_MS = 10_000;
const HEALTHY_AFTER_MS = 60_000;

/** How this program is started again: a compiled binary is its own command, in development Bun runs the script. */
export function selfCommand(): string[] {
  return Bun.main.startsWith("/$bunfs/") ? [process.execPath] : [process.execPath, Bun.main];
}

/**
 * Runs `serve` in a child process and starts it again when it dies, since a device error or a segmentation fault ends a
 * process that nothing inside can save. Where the first was never ready, none is started again: its error would repeat.
 * The child gets the keys in a message: its arguments and environment show none. Returns the exit code to end with.
 */
export async function supervise(
  argv: readonly string[],
  apiKeys: readonly string[],
  clock: Clock,
  log: (line: string) => void,
): Promise<number> {
  let pauseMs = FIRST_PAUSE_MS;
  const stop = Promise.withResolvers<void>();
  let stopping = false;
  let wasReady = false;
  let child: Bun.Subprocess | undefined;
  // The child runs in a session of its own, so that Ctrl-C reaches it once, from here.
  const forward = (signal: NodeJS.Signals) => {
    stopping = true;
    stop.resolve();
    child?.kill(signal);
  };
  process.on("SIGINT", forward);
  process.on("SIGTERM", forward);
  for (;;) {
    const startedMs = clock.nowMs();
    child = Bun.spawn([...selfCommand(), "serve", ...withoutSecrets(argv)], {
      env: supervisedEnvironment(SECRET_VARIABLES),
      stdio: ["ignore", "inherit", "inherit"],
      detached: true,
      ipc: (message) => {
        if (message === "ready") wasReady = true;
      },
    });
    child.send({ apiKeys });
    const code = await child.exited;
    if (stopping || !wasReady || (code === 0 && !child.signalCode)) return code;
    if (clock.nowMs() - startedMs > HEALTHY_AFTER_MS) pauseMs = FIRST_PAUSE_MS;
    const how = child.signalCode ? `signal ${child.signalCode}` : `exit code ${code}`;
    log(`The server ended with ${how}; starting it again in ${pauseMs} ms.`);
    const pause = Promise.withResolvers<void>();
    const timer = setTimeout(pause.resolve, pauseMs);
    await Promise.race([pause.promise, stop.promise]);
    clearTimeout(timer);
    // Asked to stop while nothing runs: that is done.
    if (stopping) return 0;
    pauseMs = Math.min(pauseMs * 2, MOST_PAUSE_MS);
  }
}

/** In a supervised child: tells the supervisor that the server is ready, and ends with it. */
export function reportToSupervisor(onOrphaned: () => void): void {
  process.send?.("ready");
  process.on("disconnect", onOrphaned);
}

/** In a supervised child: the keys of the server. Rejects with CliError where no supervisor is there to say them. */
export function keysFromSupervisor(): Promise<readonly string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
  const gone = () => reject(new CliError("the supervisor is gone"));
  if (process.send === undefined) gone();
  process.once("disconnect", gone);
  process.once("message", ({ apiKeys }: { apiKeys: readonly string[] }) => {
    process.off("disconnect", gone);
    resolve(apiKeys);
  });
  return promise;
}
