import notices from "../../build/third-party-notices.txt" with { type: "text" };
import type { Command } from "./command.ts";

const HELP = `Usage: scalellm licenses

Prints the licenses of the works of others that this binary holds.
`;

export const licensesCommand: Command = {
  async run(argv) {
    process.stdout.write(argv.includes("--help") || argv.includes("-h") ? HELP : notices);
    return 0;
  },
};
