import { ServeError } from "../core/errors.ts";

/** A model file that cannot be used, and why: names the file, and the field, tensor or key at fault. */
export class ModelError extends ServeError {
  readonly file: string;
  /** A metadata key, JSON field or tensor name; undefined when the file as a whole is at fault. */
  readonly field: string | undefined;

  constructor(file: string, field: string | undefined, problem: string, cause?: unknown) {
    super("invalid_argument", field === undefined ? `${file}: ${problem}` : `${file}: ${field}: ${problem}`, {
      reason: "bad_model",
      cause,
    });
    this.name = "ModelError";
    this.file = file;
    this.field = field;
  }
}
