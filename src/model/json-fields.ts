import { existsSync } from "node:fs";
import { FileSource } from "./file-source.ts";
import { ModelError } from "./model-error.ts";

/** Reads a text file of at most `maxBytes`. Throws ModelError. */
export function readTextFile(path: string, maxBytes: number): string {
  const source = new FileSource(path);
  try {
    if (source.length > maxBytes) {
      throw new ModelError(path, undefined, `has ${source.length} bytes, more than the ${maxBytes} allowed`);
    }
    return source.read(0, source.length).toString("utf8");
  } finally {
    source.close();
  }
}

/** Reads a JSON file that holds an object. Throws ModelError. */
export function readJsonFile(path: string, maxBytes: number): JsonFields {
  return parseJsonFields(path, readTextFile(path, maxBytes));
}

/** As readJsonFile, but an absent file is an empty object. */
export function readJsonFileIfAny(path: string, maxBytes: number): JsonFields {
  return existsSync(path) ? readJsonFile(path, maxBytes) : new JsonFields(path, "", {});
}

export function parseJsonFields(path: string, text: string): JsonFields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ModelError(path, undefined, "is not valid JSON", error);
  }
  if (!isObject(value)) throw new ModelError(path, undefined, "is not a JSON object");
  return new JsonFields(path, "", value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** An object of a JSON file, with getters that check types and ranges and name file and field. null reads as absent. */
export class JsonFields {
  readonly file: string;
  readonly #prefix: string;
  readonly #values: Record<string, unknown>;

  constructor(file: string, prefix: string, values: Record<string, unknown>) {
    this.file = file;
    this.#prefix = prefix;
    this.#values = values;
  }

  keys(): string[] {
    return Object.keys(this.#values);
  }

  /** The value as it stands, null included; undefined when absent. */
  raw(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
  }

  /** A whole number within [min, max]. */
  int(name: string, min: number, max: number): number | undefined {
    const value = this.number(name);
    if (value === undefined) return undefined;
    if (!Number.isInteger(value)) throw this.error(name, `is ${value}, not a whole number`);
    if (value < min || value > max) throw this.error(name, `is ${value}, outside ${min} to ${max}`);
    return value;
  }

  requiredInt(name: string, min: number, max: number): number {
    const value = this.int(name, min, max);
    if (value === undefined) throw this.error(name, "is missing");
    return value;
  }

  number(name: string): number | undefined {
    const value = this.#present(name);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.error(name, "is not a number");
    return value;
  }

  bool(name: string): boolean | undefined {
    const value = this.#present(name);
    if (value === undefined) return undefined;
    if (typeof value !== "boolean") throw this.error(name, "is not true or false");
    return value;
  }

  string(name: string): string | undefined {
    const value = this.#present(name);
    if (value === undefined) return undefined;
    if (typeof value !== "string") throw this.error(name, "is not a string");
    return value;
  }

  strings(name: string): string[] | undefined {
    const value = this.list(name);
    if (value === undefined) return undefined;
    if (!value.every((item) => typeof item === "string")) throw this.error(name, "is not a list of strings");
    return value as string[];
  }

  list(name: string): unknown[] | undefined {
    const value = this.#present(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw this.error(name, "is not a list");
    return value;
  }

  object(name: string): JsonFields | undefined {
    const value = this.#present(name);
    if (value === undefined) return undefined;
    if (!isObject(value)) throw this.error(name, "is not an object");
    return new JsonFields(this.file, `${this.#prefix}${name}.`, value);
  }

  error(name: string, problem: string): ModelError {
    return new ModelError(this.file, this.#prefix + name, problem);
  }

  #present(name: string): unknown {
    return this.raw(name) ?? undefined;
  }
}
