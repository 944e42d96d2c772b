/** The product's own commands, and a fault on demand: SIGUSR2 rejects a promise that nobody waits for. */
import { runCli } from "../../src/cli/cli.ts";

process.on("SIGUSR2", () => void Promise.reject(new Error("lost as asked")));
process.exitCode = await runCli(Bun.argv.slice(2));
