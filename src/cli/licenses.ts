import notices from "../../build/third-party-notices.txt" with { type: "text" };
import { type Command, requireNoArguments } from "./command.ts";

const HELP = `Usage: scalellm licenses

Prints the licenses of the works of others that this binary holds.
`;

export const licensesCommand: Command = {
  async run(argv) {
    const isHelp = argv.includes("--help") || argv.includes("-h");
    if (!isHelp) requireNoArguments(argv);
    process.stdout.write(isHelp ? HELP : notices);
    return 0;
  },
};
