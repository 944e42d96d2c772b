import { ServeError } from "../core/errors.ts";

/** Names and values in a message come from files: a hostile one may have megabytes, or control a terminal. */
const MAX_FIELD_CHARS = 200;
const MAX_MESSAGE_CHARS = 1000;

/** A model file that cannot be used, and why: names the file, and the field, tensor or key at fault. */
export class ModelError extends ServeError {
  readonly file: string;
  /** A metadata key, JSON field or tensor name; undefined when the file as a whole is at fault. */
  readonly field: string | undefined;

  constructor(file: string, field: string | undefined, problem: string, cause?: unknown) {
    const where = field === undefined ? file : `${file}: ${cut(field, MAX_FIELD_CHARS)}`;
    super("invalid_argument", cut(printable(`${where}: ${problem}`), MAX_MESSAGE_CHARS), {
      reason: "bad_model",
      cause,
    });
    this.name = "ModelError";
    this.file = file;
    this.field = field;
  }
}

function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\ufffd");
}

function cut(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}…`;
}
