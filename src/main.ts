import { runCli } from "./cli/cli.ts";

process.exitCode = await runCli(Bun.argv.slice(2));
