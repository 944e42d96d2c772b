import { type Restart, supervisedEnvironment } from "../config/environment.ts";
import { SECRET_VARIABLES, withoutSecrets } from "../config/load-settings.ts";
import type { Settings } from "../config/options.ts";
import type { Clock } from "../core/clock.ts";
import { CliError } from "./command.ts";
import { handleSignals, outliveReaders } from "./signals.ts";
import { type StandIn, startStandIn } from "./stand-in.ts";

/** Pause before the second restart in a row; the first has none. Doubles up to the most, and is forgotten after a healthy while. */
const FIRST_PAUSE_MS = 200;
const MOST_PAUSE_MS = 10_000;
const HEALTHY_AFTER_MS = 60_000;
/** Clients wait at most this long before they come again: some take a longer time for a mistake. */
const MOST_RETRY_AFTER_S = 30;

/** What a child says over the channel between the two. */
export type ChildMessage =
  | { readonly type: "listening"; readonly host: string; readonly port: number; readonly grpcPort: number }
  | { readonly type: "ready" };

/** How this program is started again: a compiled binary is its own command, in development Bun runs the script. */
export function selfCommand(): string[] {
  return Bun.main.startsWith("/$bunfs/") ? [process.execPath] : [process.execPath, Bun.main];
}

/**
 * Runs `serve` in a child process and starts it again when it dies, since a device error or a segmentation fault ends a
 * process that nothing inside can save. Where the first was never ready, none is started again: its error would repeat.
 * The child gets its settings in a message, the same at each start: a pipe can be read once, files change, and arguments
 * and environment would show the keys; `argv` is there for who lists processes. Returns the exit code to end with.
 */
export async function supervise(
  argv: readonly string[],
  settings: Settings,
  clock: Clock,
  log: (line: string) => void,
): Promise<number> {
  outliveReaders();
  let pauseMs = 0;
  const stop = Promise.withResolvers<void>();
  let stopping = false;
  let child: Bun.Subprocess | undefined;
  let address: Extract<ChildMessage, { type: "listening" }> | undefined;
  let readyAfterS: number | undefined;
  let standIn: StandIn | undefined;
  // The child runs in a session of its own, so that Ctrl-C reaches it once, from here. What ends a server ends it gently.
  handleSignals((signal) => {
    // A terminal that closes may say so more than once, which does not mean more haste.
    if (stopping && signal === "SIGHUP") return;
    stopping = true;
    stop.resolve();
    child?.kill("SIGTERM");
  }, log);
  for (;;) {
    const startedMs = clock.nowMs();
    child = Bun.spawn([...selfCommand(), "serve", ...withoutSecrets(argv)], {
      env: supervisedEnvironment(SECRET_VARIABLES, restartFrom(address, readyAfterS)),
      stdio: ["ignore", "inherit", "inherit"],
      detached: true,
      ipc: (message: ChildMessage) => {
        if (message.type === "ready") readyAfterS = (clock.nowMs() - startedMs) / 1000;
        else {
          address = message;
          void standIn?.stop();
          standIn = undefined;
        }
      },
    });
    child.send({ settings });
    const code = await child.exited;
    if (stopping || readyAfterS === undefined || (code === 0 && !child.signalCode)) {
      await standIn?.stop();
      return code;
    }
    if (address !== undefined) standIn ??= startStandIn(address.host, address.port, retryAfterS(readyAfterS));
    if (clock.nowMs() - startedMs > HEALTHY_AFTER_MS) pauseMs = 0;
    const how = child.signalCode ? `signal ${child.signalCode}` : `exit code ${code}`;
    log(`The server ended with ${how}; starting it again${pauseMs === 0 ? "" : ` in ${pauseMs} ms`}.`);
    const pause = Promise.withResolvers<void>();
    const timer = setTimeout(pause.resolve, pauseMs);
    await Promise.race([pause.promise, stop.promise]);
    clearTimeout(timer);
    // Asked to stop while nothing runs: that is done.
    if (stopping) {
      await standIn?.stop();
      return 0;
    }
    pauseMs = pauseMs === 0 ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, MOST_PAUSE_MS);
  }
}

function restartFrom(
  address: { port: number; grpcPort: number } | undefined,
  readyAfterS: number | undefined,
): Restart | undefined {
  if (address === undefined || readyAfterS === undefined) return undefined;
  return { port: address.port, grpcPort: address.grpcPort, retryAfterS: retryAfterS(readyAfterS) };
}

/** Twice the last start: clients try twice as a rule, and the next start may take longer. */
function retryAfterS(readyAfterS: number): number {
  return Math.min(Math.max(1, Math.ceil(2 * readyAfterS)), MOST_RETRY_AFTER_S);
}

/** In a supervised child: tells the supervisor how far the server is; elsewhere nobody listens. */
export function tellSupervisor(message: ChildMessage): void {
  process.send?.(message);
}

/** In a supervised child: `onOrphaned` is called when the supervisor has gone, however it ended. */
export function endWithSupervisor(onOrphaned: () => void): void {
  if (process.send === undefined) return;
  process.on("disconnect", onOrphaned);
  if (!process.connected) onOrphaned();
}

/** In a supervised child: what to serve, and how. Rejects with CliError where no supervisor is there to say them. */
export function settingsFromSupervisor(): Promise<Settings> {
  const { promise, resolve, reject } = Promise.withResolvers<Settings>();
  const gone = () => reject(new CliError("the supervisor is gone"));
  if (process.send === undefined) gone();
  process.once("disconnect", gone);
  process.once("message", ({ settings }: { settings: Settings }) => {
    process.off("disconnect", gone);
    resolve(settings);
  });
  return promise;
}
