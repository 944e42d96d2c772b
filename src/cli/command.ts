/** One subcommand. `run` returns the process's exit code: 0 done, 1 failed, 2 wrong usage. */
export interface Command {
  run(argv: readonly string[]): Promise<number>;
}

/** What the user got wrong, or what stands in the way: printed without a stack trace. */
export class CliError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = "CliError";
    this.exitCode = exitCode;
  }
}

/** Exit code of a program that Ctrl-C ended, as shells count it. */
export const EXIT_INTERRUPTED = 130;

/** For a command that takes none. Throws CliError for the first of them. */
export function requireNoArguments(argv: readonly string[]): void {
  if (argv[0] !== undefined) throw new CliError(`expected no arguments, got '${argv[0]}'`, 2);
}
