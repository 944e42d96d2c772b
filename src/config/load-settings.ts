import { parse as parseYaml } from "yaml";
import { nearestName } from "../core/nearest-name.ts";
import { SUPERVISED } from "./environment.ts";
import { OPTIONS, type Option, type SettingName, type Settings } from "./options.ts";
import { ConfigError } from "./parse.ts";
import { readText } from "./read-text.ts";

/** Settings and what else was on the command line. */
export interface LoadedSettings {
  readonly settings: Settings;
  /** Where a setting's value comes from, as a person would name it: "--port", "SCALELLM_PORT", "--config FILE: 'port'". */
  sourceOf(name: SettingName): string;
  readonly positionals: readonly string[];
  /** What was passed over and may have been meant: for people. */
  readonly warnings: readonly string[];
}

const NAMES = Object.keys(OPTIONS) as SettingName[];
const BY_FLAG = new Map<string, SettingName>(NAMES.map((name) => [OPTIONS[name].name, name]));
/** A settings file is small; a larger one was given by mistake. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Values of one layer, each with where it was given. */
type Layer = Map<SettingName, { value: unknown; where: string }>;

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

function add(layer: Layer, name: SettingName, value: unknown, where: string): void {
  const known = layer.get(name)?.value as unknown[] | undefined;
  layer.set(name, { value: optionOf(name).list ? [...(known ?? []), value] : value, where });
}

/** An unset variable or an emptied file must not open a server: what decides who may use it has a value or is not there. */
function checkNotEmpty(name: SettingName, where: string): void {
  if (optionOf(name).security) {
    throw new ConfigError(`${where}: is set but empty; give it a value, or remove it to get the default`);
  }
}

/** Flags that a command takes beside the settings: they are suggested for what was mistyped, too. */
type OtherFlags = Iterable<string>;

function suggestion(flag: string, prefix: "--" | "", others: OtherFlags = []): string {
  const name = nearestName(flag, [...BY_FLAG.keys(), ...others]);
  return name ? ` Did you mean ${prefix}${name}?` : "";
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
      // A forgotten value (an unset variable, say) must not make the next flag a key.
      const name = BY_FLAG.get(flag);
      if (inline === undefined && next.startsWith("--") && name !== undefined && optionOf(name).security)
        throw new ConfigError(`--${flag} needs a value; one that begins with dashes is given as --${flag}=VALUE`);
      return next;
    };
    if (flag === "config") {
      file = value();
      if (file === "") throw new ConfigError("--config: is set but empty");
      continue;
    }
    const negated = flag.startsWith("no-") ? BY_FLAG.get(flag.slice(3)) : undefined;
    const name = BY_FLAG.get(flag) ?? negated;
    if (!name || (negated && optionOf(negated).hint !== undefined)) {
      throw new ConfigError(`unknown option --${flag}.${suggestion(flag, "--", others)}`);
    }
    const where = `--${flag}`;
    if (optionOf(name).hint === undefined) {
      if (negated && inline !== undefined) throw new ConfigError(`${where} takes no value`);
      add(layer, name, negated ? false : inline === undefined ? true : parseValue(name, inline, where), where);
    } else {
      add(layer, name, parseValue(name, value(), where), where);
    }
  }
  return { layer, positionals, file };
}

const variableOf = (option: string) => `SCALELLM_${option.replaceAll("-", "_").toUpperCase()}`;

/**
 * Variables that look like a mistyped setting. Others of that prefix may be anyone's: Kubernetes names some by services.
 * Throws ConfigError for one that looks like a key: ignored, it would leave the server open.
 */
function mistypedVariables(env: Record<string, string | undefined>): string[] {
  const known = new Set([SUPERVISED, ...NAMES.map((name) => variableOf(OPTIONS[name].name))]);
  return Object.keys(env).flatMap((key) => {
    if (!key.startsWith("SCALELLM_") || known.has(key)) return [];
    const typed = key.slice("SCALELLM_".length).replaceAll("_", "-").toLowerCase();
    const name = nearestName(typed, BY_FLAG.keys());
    if (name === undefined) return [];
    const meant = `Did you mean ${variableOf(name)}?`;
    if (optionOf(BY_FLAG.get(name)!).secret) throw new ConfigError(`${key} is no setting. ${meant}`);
    return [`${key} is no setting and is ignored. ${meant}`];
  });
}

function fromEnvironment(env: Record<string, string | undefined>): Layer {
  const layer: Layer = new Map();
  for (const name of NAMES) {
    const key = variableOf(OPTIONS[name].name);
    const value = env[key];
    if (value === undefined) continue;
    if (value.trim() === "") {
      checkNotEmpty(name, key);
      continue;
    }
    const values = optionOf(name).list ? value.split(",") : [value];
    for (const item of values) add(layer, name, parseValue(name, item.trim(), key), key);
  }
  return layer;
}

function fromFile(path: string): Layer {
  const text = readText(path, MAX_FILE_BYTES, `--config ${path}`);
  let data: unknown;
  try {
    data = parseYaml(text); // JSON is YAML
  } catch (error) {
    throw new ConfigError(`--config ${path}: ${(error as Error).message}`);
  }
  // A file that was emptied, or not yet written, had settings that someone relies on.
  if (data === null || data === undefined) throw new ConfigError(`--config ${path}: has no settings`);
  if (typeof data !== "object" || Array.isArray(data))
    throw new ConfigError(`--config ${path}: expected a map of settings`);
  const layer: Layer = new Map();
  for (const [key, value] of Object.entries(data)) addFromFile(layer, key, value, `--config ${path}`);
  return layer;
}

function addFromFile(layer: Layer, key: string, value: unknown, file: string): void {
  const flag = key.replaceAll("_", "-");
  const name = BY_FLAG.get(flag);
  if (!name) throw new ConfigError(`${file}: unknown setting '${key}'.${suggestion(flag, "")}`);
  const where = `${file}: '${key}'`;
  if (layer.has(name)) throw new ConfigError(`${where} is given twice`);
  const option = optionOf(name);
  const values = Array.isArray(value) && option.list ? value : [value];
  if (value === null || values.length === 0) {
    checkNotEmpty(name, where);
    return;
  }
  for (const item of values) {
    if (typeof item === "object") throw new ConfigError(`${where} must be a plain value`);
    // YAML reads 0123 and 1e3 as numbers, and would give another key back.
    if (name === "apiKey" && typeof item !== "string") throw new ConfigError(`${where}: put the key in quotes`);
    add(layer, name, parseValue(name, String(item), where), where);
  }
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
  if (file?.trim() === "") throw new ConfigError("SCALELLM_CONFIG: is set but empty");
  const layers = [file === undefined ? new Map() : fromFile(file), fromEnvironment(env), flags.layer] as Layer[];
  const settings: Record<string, unknown> = {};
  const sources = new Map<SettingName, string>();
  for (const name of NAMES) {
    const given = layers.findLast((layer) => layer.has(name))?.get(name);
    settings[name] = given === undefined ? OPTIONS[name].value : given.value;
    sources.set(name, given?.where ?? `the default of --${OPTIONS[name].name}`);
  }
  return {
    settings: Object.freeze(settings) as Settings,
    sourceOf: (name) => sources.get(name)!,
    positionals: flags.positionals,
    warnings: mistypedVariables(env),
  };
}

/** The same arguments without the flags that name keys or where they are: another process would show them again. */
export function withoutSecrets(argv: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (arg === "--") return [...kept, ...argv.slice(i)];
    const [flag, inline] = arg.startsWith("--") ? arg.slice(2).split("=", 2) : [];
    const name = flag === undefined ? undefined : BY_FLAG.get(flag);
    const option = name === undefined ? undefined : optionOf(name);
    const takesNext = inline === undefined && (flag === "config" || option?.hint !== undefined);
    if (!option?.secret) kept.push(arg, ...(takesNext ? argv.slice(i + 1, i + 2) : []));
    if (takesNext) i++;
  }
  return kept;
}

/** Variables that hold keys or say where they are. */
export const SECRET_VARIABLES: readonly string[] = NAMES.filter((name) => optionOf(name).secret).map((name) =>
  variableOf(OPTIONS[name].name),
);
