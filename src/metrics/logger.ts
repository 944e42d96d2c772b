import type { Clock } from "../core/clock.ts";
import { reflected } from "../core/reflected.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log lines. Messages are constant phrases; what varies goes into fields. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export interface LoggerOptions {
  level: LogLevel;
  format: "pretty" | "json";
  clock: Clock;
  /** Takes a whole line with its newline; the process's standard error where absent. */
  write?: (line: string) => void;
}

export function createLogger({ level, format, clock, write }: LoggerOptions): Logger {
  const threshold = LOG_LEVELS.indexOf(level);
  const out = write ?? ((line: string) => void process.stderr.write(line));
  const render = format === "json" ? jsonLine : prettyLine;
  const at =
    (lineLevel: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (LOG_LEVELS.indexOf(lineLevel) >= threshold) out(render(clock.epochS(), lineLevel, message, fields));
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Drops every line. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

function jsonLine(epochS: number, level: LogLevel, message: string, fields: LogFields): string {
  const time = new Date(epochS * 1000).toISOString();
  return `${harmless(JSON.stringify({ time, level, message, ...plain(fields) }))}\n`;
}

function prettyLine(epochS: number, level: LogLevel, message: string, fields: LogFields): string {
  const time = new Date(epochS * 1000).toISOString().slice(11, 19);
  let line = `${time} ${level.toUpperCase().padEnd(5)} ${message}`;
  for (const [name, value] of Object.entries(plain(fields))) {
    if (value === undefined) continue;
    // An object's own toString may be missing, or throw.
    const text = typeof value === "object" ? "" : String(value);
    line += ` ${name}=${/^[\w./:@-]+$/.test(text) ? text : JSON.stringify(value)}`;
  }
  return `${harmless(line)}\n`;
}

/** What terminals obey, though JSON leaves most of it as it is: controls, line breaks, what turns the direction of writing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A line that shows what it holds and does nothing else. */
function harmless(line: string): string {
  return line.replace(CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Longest field of a line: a whole error message fits. What came from outside is cut where it is put in, to less. */
const MAX_FIELD_CHARS = 1100;
/** About 40 frames. */
const MAX_STACK_CHARS = 4096;

/** What JSON.stringify can print, as it should look. */
function plain(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, printable(value)]));
}

/**
 * Errors as their stack (they would print as {}), every text well-formed and of bounded length. Whatever else was thrown may
 * hold itself, or a bigint.
 */
function printable(value: unknown): unknown {
  if (value instanceof Error) return reflected(value.stack ?? value.message, MAX_STACK_CHARS);
  if (typeof value === "string") return reflected(value, MAX_FIELD_CHARS);
  if (typeof value !== "bigint" && (typeof value !== "object" || value === null)) return value;
  try {
    JSON.stringify(value);
    return value;
  } catch {
    return reflected(Bun.inspect(value), MAX_FIELD_CHARS);
  }
}
