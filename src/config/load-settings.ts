import { readFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";
import { failureReason } from "../core/failure-reason.ts";
import { nearestName } from "../core/nearest-name.ts";
import { SUPERVISED } from "./environment.ts";
import { OPTIONS, type Option, type SettingName, type Settings } from "./options.ts";
import { ConfigError } from "./parse.ts";

/** Settings and what else was on the command line. */
export interface LoadedSettings {
  readonly settings: Settings;
  readonly positionals: readonly string[];
  /** What was passed over and may have been meant: for people. */
  readonly warnings: readonly string[];
}

const NAMES = Object.keys(OPTIONS) as SettingName[];
const BY_FLAG = new Map<string, SettingName>(NAMES.map((name) => [OPTIONS[name].name, name]));
/** A settings file is small; a larger one was given by mistake. */
const MAX_FILE_BYTES = 1024 * 1024;

type Layer = Map<SettingName, unknown>;

function optionOf(name: SettingName): Option<unknown> {
  return OPTIONS[name] as unknown as Option<unknown>;
}

function parseValue(name: SettingName, value: string, where: string): unknown {
  try {
    return optionOf(name).parse(value);
  } catch (error) {
    if (error instanceof ConfigError) throw new ConfigError(`${where}: ${error.message}`);
    throw error;
  }
}

function add(layer: Layer, name: SettingName, value: unknown): void {
  const known = layer.get(name) as unknown[] | undefined;
  layer.set(name, optionOf(name).list ? [...(known ?? []), value] : value);
}

/** Flags that a command takes beside the settings: they are suggested for what was mistyped, too. */
type OtherFlags = Iterable<string>;

function suggestion(flag: string, others: OtherFlags = []): string {
  const name = nearestName(flag, [...BY_FLAG.keys(), ...others]);
  return name ? ` Did you mean --${name}?` : "";
}

function fromFlags(
  argv: readonly string[],
  others: OtherFlags,
): { layer: Layer; positionals: string[]; file: string | undefined } {
  const layer: Layer = new Map();
  const positionals: string[] = [];
  let file: string | undefined;
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (arg === "--") {
      positionals.push(...argv.slice(i + 1));
      break;
    }
    if (!arg.startsWith("--")) {
      if (arg.startsWith("-") && arg.length > 1) throw new ConfigError(`unknown option ${arg}`);
      positionals.push(arg);
      continue;
    }
    const equals = arg.indexOf("=");
    const flag = arg.slice(2, equals < 0 ? undefined : equals);
    const inline = equals < 0 ? undefined : arg.slice(equals + 1);
    const value = (): string => {
      const next = inline ?? argv[++i];
      if (next === undefined) throw new ConfigError(`--${flag} needs a value`);
      return next;
    };
    if (flag === "config") {
      file = value();
      continue;
    }
    const negated = flag.startsWith("no-") ? BY_FLAG.get(flag.slice(3)) : undefined;
    const name = BY_FLAG.get(flag) ?? negated;
    if (!name || (negated && optionOf(negated).hint !== undefined)) {
      throw new ConfigError(`unknown option --${flag}.${suggestion(flag, others)}`);
    }
    if (optionOf(name).hint === undefined) {
      if (negated && inline !== undefined) throw new ConfigError(`--${flag} takes no value`);
      add(layer, name, negated ? false : inline === undefined ? true : parseValue(name, inline, `--${flag}`));
    } else {
      add(layer, name, parseValue(name, value(), `--${flag}`));
    }
  }
  return { layer, positionals, file };
}

const variableOf = (option: string) => `SCALELLM_${option.replaceAll("-", "_").toUpperCase()}`;

/** Variables that look like a mistyped setting. Others of that prefix may be anyone's: Kubernetes names some by services. */
function mistypedVariables(env: Record<string, string | undefined>): string[] {
  const known = new Set([SUPERVISED, ...NAMES.map((name) => variableOf(OPTIONS[name].name))]);
  return Object.keys(env).flatMap((key) => {
    if (!key.startsWith("SCALELLM_") || known.has(key)) return [];
    const typed = key.slice("SCALELLM_".length).replaceAll("_", "-").toLowerCase();
    const name = nearestName(typed, BY_FLAG.keys());
    return name ? [`${key} is no setting and is ignored. Did you mean ${variableOf(name)}?`] : [];
  });
}

function fromEnvironment(env: Record<string, string | undefined>): Layer {
  const layer: Layer = new Map();
  for (const name of NAMES) {
    const key = variableOf(OPTIONS[name].name);
    const value = env[key];
    if (value === undefined || value === "") continue;
    const values = optionOf(name).list ? value.split(",") : [value];
    for (const item of values) add(layer, name, parseValue(name, item.trim(), key));
  }
  return layer;
}

function fromFile(path: string): Layer {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(`--config ${path}: ${failureReason(error)}`);
  }
  if (text.length > MAX_FILE_BYTES) throw new ConfigError(`--config ${path}: larger than ${MAX_FILE_BYTES} bytes`);
  let data: unknown;
  try {
    data = parseYaml(text); // JSON is YAML
  } catch (error) {
    throw new ConfigError(`--config ${path}: ${(error as Error).message}`);
  }
  if (data === null || data === undefined) return new Map();
  if (typeof data !== "object" || Array.isArray(data))
    throw new ConfigError(`--config ${path}: expected a map of settings`);
  const layer: Layer = new Map();
  for (const [key, value] of Object.entries(data)) {
    const flag = key.replaceAll("_", "-");
    const name = BY_FLAG.get(flag);
    if (!name) throw new ConfigError(`--config ${path}: unknown setting '${key}'.${suggestion(flag)}`);
    if (value === null) continue;
    const values = Array.isArray(value) && optionOf(name).list ? value : [value];
    for (const item of values) {
      if (typeof item === "object") throw new ConfigError(`--config ${path}: '${key}' must be a plain value`);
      add(layer, name, parseValue(name, String(item), `--config ${path}: '${key}'`));
    }
  }
  return layer;
}

/**
 * Defaults < file (--config, JSON or YAML) < environment (SCALELLM_*) < flags, as one frozen object. A list replaces
 * the list of the layer below it. `otherFlags` only helps to name what was mistyped. Throws ConfigError.
 */
export function loadSettings(
  argv: readonly string[],
  env: Record<string, string | undefined> = process.env,
  otherFlags: OtherFlags = [],
): LoadedSettings {
  const flags = fromFlags(argv, otherFlags);
  const file = flags.file ?? env.SCALELLM_CONFIG;
  const layers = [file ? fromFile(file) : new Map(), fromEnvironment(env), flags.layer];
  const settings: Record<string, unknown> = {};
  for (const name of NAMES) {
    settings[name] = OPTIONS[name].value;
    for (const layer of layers) if (layer.has(name)) settings[name] = layer.get(name);
  }
  const warnings = mistypedVariables(env);
  return { settings: Object.freeze(settings) as Settings, positionals: flags.positionals, warnings };
}
