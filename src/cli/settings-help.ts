import { OPTIONS, type Option } from "../config/options.ts";

const OPTION_LIST = Object.values(OPTIONS) as unknown as Option<unknown>[];

/** The options of a command as --help shows them; `groups` limits which. */
export function settingsHelp(groups: readonly string[] = ["Model", "Server", "Engine", "Logging"]): string {
  const lines: string[] = [];
  for (const group of groups) {
    lines.push("", group);
    for (const option of OPTION_LIST) {
      if (option.group !== group || option.name === "model") continue;
      const flag = option.hint === undefined ? switchFlag(option) : `--${option.name} ${option.hint}`;
      const shown = option.hint !== undefined && !option.list && option.value !== "" && option.value !== 0;
      const note = shown ? ` (default ${option.value})` : "";
      const text = `${option.help}${note}`;
      lines.push(flag.length <= 30 ? `  ${flag.padEnd(31)} ${text}` : `  ${flag}\n${" ".repeat(34)}${text}`);
    }
  }
  return lines.slice(1).join("\n");
}

/** A switch that is on by default is shown by the flag that turns it off. */
function switchFlag(option: Option<unknown>): string {
  return option.value === true ? `--[no-]${option.name}` : `--${option.name}`;
}

export const SETTINGS_LAYERS = `Every option can also be set as SCALELLM_NAME in the environment, or as name: value in a JSON or YAML file
given with --config FILE. Flags win over the environment, the environment over the file.`;
