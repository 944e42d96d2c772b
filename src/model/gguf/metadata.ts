import { ModelError } from "../model-error.ts";

/** An integer beyond 2^53 stays a bigint; numeric arrays are typed (64-bit integers as doubles). */
export type MetadataValue =
  | number
  | bigint
  | boolean
  | string
  | readonly string[]
  | Int32Array
  | Float32Array
  | Float64Array;

/** The key-value section of a GGUF file, with getters that check types and ranges and name file and key. */
export class Metadata {
  readonly file: string;
  readonly #values: ReadonlyMap<string, MetadataValue>;

  constructor(file: string, values: ReadonlyMap<string, MetadataValue>) {
    this.file = file;
    this.#values = values;
  }

  /** The value as stored, whatever its type. */
  raw(key: string): MetadataValue | undefined {
    return this.#values.get(key);
  }

  /** A whole number within [min, max]. */
  int(key: string, min: number, max: number): number | undefined {
    let value = this.#values.get(key);
    if (value === undefined) return undefined;
    // Some converters store a value a layer even where all layers agree.
    if (value instanceof Int32Array || value instanceof Float64Array) value = this.#uniform(key, value);
    if (typeof value !== "number" || !Number.isInteger(value)) throw this.error(key, "is not a whole number");
    if (value < min || value > max) throw this.error(key, `is ${value}, outside ${min} to ${max}`);
    return value;
  }

  requiredInt(key: string, min: number, max: number): number {
    const value = this.int(key, min, max);
    if (value === undefined) throw this.error(key, "is missing");
    return value;
  }

  float(key: string): number | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.error(key, "is not a finite number");
    return value;
  }

  bool(key: string): boolean | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== "boolean") throw this.error(key, "is not a boolean");
    return value;
  }

  string(key: string): string | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== "string") throw this.error(key, "is not a string");
    return value;
  }

  strings(key: string): readonly string[] | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw this.error(key, "is not an array of strings");
    return value as readonly string[];
  }

  numbers(key: string): Int32Array | Float32Array | Float64Array | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    if (!ArrayBuffer.isView(value)) throw this.error(key, "is not an array of numbers");
    return value;
  }

  error(key: string, problem: string): ModelError {
    return new ModelError(this.file, key, problem);
  }

  #uniform(key: string, values: Int32Array | Float64Array): number {
    const first = values[0];
    if (first === undefined) throw this.error(key, "is an empty array");
    if (values.some((value) => value !== first)) {
      throw this.error(key, "differs from layer to layer; only models whose layers are alike are supported");
    }
    return first;
  }
}
