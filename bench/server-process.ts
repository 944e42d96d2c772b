/** Servers under test, each a process of its own on a port of its own. */
import { readFileSync } from "node:fs";

const START_DEADLINE_MS = 60_000;
const POLL_MS = 5;

export async function freePort(): Promise<number> {
  const server = Bun.serve({ port: 0, fetch: () => new Response() });
  const port = server.port!;
  await server.stop(true);
  return port;
}

/** Starts a server and waits until `readyUrl` answers well. Throws when it ends before, or takes a minute. */
export async function startProcess(command: readonly string[], readyUrl: string): Promise<Bun.Subprocess> {
  const child = Bun.spawn([...command], { stdio: ["ignore", "ignore", "ignore"] });
  const deadlineMs = performance.now() + START_DEADLINE_MS;
  for (;;) {
    const ready = await fetch(readyUrl)
      .then((response) => response.ok)
      .catch(() => false);
    if (ready) return child;
    if (child.exitCode !== null || performance.now() > deadlineMs) {
      child.kill();
      throw new Error(`${command[0]} did not become ready`);
    }
    await Bun.sleep(POLL_MS);
  }
}

/** `dist/scalellm serve` with the bundled model. Stop it with SIGTERM. */
export async function startScaleLlm(args: readonly string[] = []): Promise<{ url: string; child: Bun.Subprocess }> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const command = ["dist/scalellm", "serve", "--no-supervise", "--no-grpc", "--port", `${port}`, ...args];
  return { url, child: await startProcess(command, `${url}/ready`) };
}

/** Resident memory of a process in millions of bytes; shared pages of the executable (the model's included) count. */
export function residentMb(pid: number): number {
  return (Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024) / 1e6;
}
