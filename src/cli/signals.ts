import { readFileSync } from "node:fs";
import { constants } from "node:os";

/** They ask a server to end. A terminal that closes sends SIGHUP. */
const ENDING = ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const;
/**
 * They would end a process that has no handler, and ask a server for nothing: tools send them to reopen logs and the like.
 * Bun ignores SIGPIPE by itself.
 */
const HARMLESS = ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO"] as const;

/**
 * Calls `onEnd` for every signal that asks the process to end, but SIGHUP where it was started to survive that (nohup).
 * Harmless signals are logged and do nothing.
 */
export function handleSignals(onEnd: (signal: NodeJS.Signals) => void, log: (line: string) => void): void {
  for (const signal of ENDING) {
    if (signal === "SIGHUP" && isIgnored(constants.signals.SIGHUP)) continue;
    process.on(signal, () => onEnd(signal));
  }
  for (const signal of HARMLESS) process.on(signal, () => log(`${signal} means nothing here and is ignored`));
}

/** Whether the process was started with the signal ignored; where the system does not tell, it was not. */
function isIgnored(signal: number): boolean {
  let status: string;
  try {
    status = readFileSync("/proc/self/status", "utf8");
  } catch {
    return false;
  }
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return mask !== undefined && ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

/** A server goes on when who reads its output has gone, be it a pipe or a terminal that was closed. */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
}
