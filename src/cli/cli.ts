import { writeSync } from "node:fs";
import { ConfigError } from "../config/parse.ts";
import { ServeError } from "../core/errors.ts";
import { failureReason, isSystemFailure } from "../core/failure-reason.ts";
import { nearestName } from "../core/nearest-name.ts";
import { CliError, type Command } from "./command.ts";
import { terminalText } from "./terminal-text.ts";
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
  licenses: {
    summary: "licenses of this program and of what it holds",
    load: async () => (await import("./licenses.ts")).licensesCommand,
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
  scalellm help COMMAND                every option of a command
`;

export async function runCli(argv: readonly string[]): Promise<number> {
  endWithOutput();
  const [first, ...others] = argv;
  // `help serve`, `--help serve`: what `serve --help` says.
  const isHelp = first === undefined || first === "help" || first === "--help" || first === "-h";
  const [name, rest] = isHelp ? [others[0], ["--help"]] : [first, others];
  if (name === undefined || (isHelp && ["help", "--help", "-h"].includes(name))) {
    process.stdout.write(HELP);
    return 0;
  }
  if (name === "version" || name === "--version" || name === "-v" || name === "-V") {
    process.stdout.write(`scalellm ${VERSION}\n`);
    return 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    process.stderr.write(`scalellm: ${unknownCommand(name)}\n`);
    return 2;
  }
  try {
    const command = await COMMANDS[name]!.load();
    return await command.run(rest);
  } catch (error) {
    const { message, exitCode } = describe(name, error);
    process.stderr.write(`scalellm ${name}: ${terminalText(message, process.stderr)}\n`);
    return exitCode;
  }
}

/**
 * Ends the program when what it says can no longer be written: quietly when the reader has seen enough (`| head`), else
 * with the reason. A server goes on: it listens for these errors itself.
 */
function endWithOutput(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (stream.listenerCount("error") > 1) return;
      if (error.code === "EPIPE") process.exit(0);
      if (stream === process.stdout)
        writeLastWords(`scalellm: the output cannot be written: ${failureReason(error)}\n`);
      process.exit(1);
    });
}

/** At once, since the process ends; there may be nowhere to write to. */
function writeLastWords(text: string): void {
  try {
    writeSync(process.stderr.fd, text);
  } catch {}
}

function unknownCommand(name: string): string {
  const names = Object.keys(COMMANDS);
  if (name.startsWith("-")) return `expected a command before ${name}: ${names.join(", ")}. See scalellm --help.`;
  const meant =
    nearestName(name.toLowerCase(), [...names, "help", "version"]) ??
    names.find((known) => name.length > 1 && known.startsWith(name));
  const hint = meant === undefined ? `Commands: ${names.join(", ")}.` : `Did you mean '${meant}'?`;
  return `unknown command '${name}'. ${hint} See scalellm --help.`;
}

/** Errors that a person can do something about are a sentence; what is left is a fault of ours, with its stack. */
function describe(command: string, error: unknown): { message: string; exitCode: number } {
  if (error instanceof ConfigError)
    return { message: `${error.message}\nSee scalellm ${command} --help.`, exitCode: 2 };
  if (error instanceof CliError) return { message: error.message, exitCode: error.exitCode };
  if (error instanceof ServeError) return { message: error.message, exitCode: 1 };
  if (isSystemFailure(error)) {
    const { path } = error as NodeJS.ErrnoException;
    return { message: `${path === undefined ? "" : `${path}: `}${failureReason(error)}`, exitCode: 1 };
  }
  return { message: error instanceof Error ? (error.stack ?? error.message) : String(error), exitCode: 1 };
}
