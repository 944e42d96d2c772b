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
  return `${JSON.stringify({ time, level, message, ...plain(fields) })}\n`;
}

function prettyLine(epochS: number, level: LogLevel, message: string, fields: LogFields): string {
  const time = new Date(epochS * 1000).toISOString().slice(11, 19);
  let line = `${time} ${level.toUpperCase().padEnd(5)} ${message}`;
  for (const [name, value] of Object.entries(plain(fields))) {
    if (value !== undefined) line += ` ${name}=${/^[\w./:@-]+$/.test(String(value)) ? value : JSON.stringify(value)}`;
  }
  return `${line}\n`;
}

/** Longest field of a line: a whole error message fits. What came from outside is cut where it is put in, to less. */
const MAX_FIELD_CHARS = 1100;
/** About 40 frames. */
const MAX_STACK_CHARS = 4096;

/** Errors as their stack (JSON.stringify would print {}), and every text well-formed and of bounded length. */
function plain(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (value instanceof Error) return [name, reflected(value.stack ?? value.message, MAX_STACK_CHARS)];
      return [name, typeof value === "string" ? reflected(value, MAX_FIELD_CHARS) : value];
    }),
  );
}
