import { runCli } from "./cli/cli.ts";

/** A command that is over ends within this, whatever it left running. */
const END_DEADLINE_MS = 1000;

process.exitCode = await runCli(Bun.argv.slice(2));
// A socket or a Worker that something forgot must not keep the process; output on its way to a slow reader may.
setInterval(() => {
  if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) process.exit();
}, END_DEADLINE_MS).unref();
