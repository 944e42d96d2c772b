import { ConfigError } from "../config/parse.ts";
import { ServeError } from "../core/errors.ts";
import { CliError, type Command } from "./command.ts";
import { VERSION } from "./version.ts";

/** Commands load on demand: `scalellm --version` should not start an engine. */
const COMMANDS: Record<string, { summary: string; load: () => Promise<Command> }> = {
  serve: { summary: "serve a model over HTTP and gRPC", load: async () => (await import("./serve.ts")).serveCommand },
  run: { summary: "answer one prompt and exit", load: async () => (await import("./run.ts")).runCommand },
  chat: { summary: "chat in the terminal", load: async () => (await import("./chat.ts")).chatCommand },
  pull: { summary: "download a model from the hub", load: async () => (await import("./pull.ts")).pullCommand },
  bench: { summary: "measure an endpoint", load: async () => (await import("./bench.ts")).benchCommand },
  profile: {
    summary: "find the least efficient stage",
    load: async () => (await import("./profile.ts")).profileCommand,
  },
  doctor: {
    summary: "what this machine can run, and why",
    load: async () => (await import("./doctor.ts")).doctorCommand,
  },
};

const HELP = `ScaleLLM ${VERSION}: an LLM server in one binary

Usage: scalellm COMMAND [OPTIONS]

Commands
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`)
  .join("\n")}

First steps
  scalellm serve                       serve the bundled model on http://127.0.0.1:8000
  scalellm run "Name three rivers."    one answer, no server
  scalellm chat                        talk to it here
  scalellm serve ORG/NAME              pull a model from the hub and serve it
  scalellm COMMAND --help              every option of a command
`;

export async function runCli(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    process.stdout.write(HELP);
    return 0;
  }
  if (name === "version" || name === "--version" || name === "-v") {
    process.stdout.write(`scalellm ${VERSION}\n`);
    return 0;
  }
  const command = COMMANDS[name];
  if (!command) {
    process.stderr.write(`scalellm: unknown command '${name}'. Try: ${Object.keys(COMMANDS).join(", ")}.\n`);
    return 2;
  }
  try {
    return await (await command.load()).run(rest);
  } catch (error) {
    if (error instanceof ConfigError) {
      process.stderr.write(`scalellm ${name}: ${error.message}\nSee scalellm ${name} --help.\n`);
      return 2;
    }
    if (error instanceof CliError || error instanceof ServeError) {
      process.stderr.write(`scalellm ${name}: ${error.message}\n`);
      return error instanceof CliError ? error.exitCode : 1;
    }
    process.stderr.write(`scalellm ${name}: ${error instanceof Error ? (error.stack ?? error.message) : error}\n`);
    return 1;
  }
}
