import { loadSettings } from "../config/load-settings.ts";
import { CliError, type Command } from "./command.ts";
import { pullWithProgress } from "./pull-with-progress.ts";

const HELP = `Usage: scalellm pull ORG/NAME[:FILE] [--revision REV]

Downloads a model into the hub's standard cache, where other tools find it too. FILE picks a GGUF, by its name or by
its end (Q4_K_M); without it the safetensors checkpoint is pulled. What is there is kept, partial files are continued,
contents are verified.

Environment: HF_TOKEN (gated models), HF_ENDPOINT (a mirror), HF_HOME or HF_HUB_CACHE (where the cache is).
`;

export const pullCommand: Command = {
  async run(argv) {
    if (argv.includes("--help") || argv.includes("-h")) {
      process.stdout.write(HELP);
      return 0;
    }
    const { settings, positionals } = loadSettings(argv);
    const [id, extra] = positionals;
    if (id === undefined || extra !== undefined) throw new CliError("expected one ORG/NAME[:FILE]", 2);
    const pulled = await pullWithProgress(id, settings.revision);
    process.stdout.write(`${pulled.path}\n`);
    return 0;
  },
};
