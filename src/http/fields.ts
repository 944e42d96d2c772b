import { ServeError } from "../core/errors.ts";
import { reflected } from "../core/reflected.ts";

/** The reply to a field that is wrong. */
export function invalidField(param: string, message: string, reason = "invalid_type"): ServeError {
  return new ServeError("invalid_argument", message, { param, reason });
}

/** A value's type as the caller wrote it in JSON. */
function typeName(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  if (typeof value === "number" && !Number.isFinite(value)) return "one beyond the range of a double";
  if (typeof value === "number") return Number.isInteger(value) ? "an integer" : "a number";
  return `a ${typeof value}`;
}

export function wrongType(param: string, expected: string, value: unknown): ServeError {
  const name = reflected(param);
  return invalidField(param, `Invalid type for '${name}': expected ${expected}, but got ${typeName(value)}.`);
}

/** The most items that a list may have, what they are called and why there are no more. */
export interface ListBound {
  readonly most: number;
  readonly what: string;
  readonly reason?: string;
}

/**
 * Reads the fields of a JSON object with their types checked. Every reader gives undefined for an absent field and for
 * null, and throws ServeError invalid_argument that names the field by its whole path for a value of another type.
 * Fields that nobody reads are ignored.
 */
export class Fields {
  constructor(
    private readonly object: Readonly<Record<string, unknown>>,
    private readonly path = "",
  ) {}

  /** The whole path of a field: `messages[0].content`. */
  param(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }

  raw(name: string): unknown {
    // Own properties only: "constructor" is a field like any other.
    return Object.hasOwn(this.object, name) ? (this.object[name] ?? undefined) : undefined;
  }

  string(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === "string") return value;
    throw wrongType(this.param(name), "a string", value);
  }

  requiredString(name: string): string {
    const value = this.string(name);
    if (value === undefined) throw this.missing(name);
    return value;
  }

  /** JSON has no NaN; a number too large for a double reads as infinite and is refused. */
  number(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined || (typeof value === "number" && Number.isFinite(value))) return value;
    throw wrongType(this.param(name), "a number", value);
  }

  integer(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined || Number.isInteger(value)) return value as number | undefined;
    throw wrongType(this.param(name), "an integer", value);
  }

  /** A bigint where a double would round it; read-json.ts restores those that it knows to be needed. */
  integer64(name: string): number | bigint | undefined {
    const value = this.raw(name);
    if (typeof value === "bigint") return value;
    return this.integer(name);
  }

  boolean(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === "boolean") return value;
    throw wrongType(this.param(name), "a boolean", value);
  }

  array(name: string): readonly unknown[] | undefined {
    const value = this.raw(name);
    if (value === undefined || Array.isArray(value)) return value;
    throw wrongType(this.param(name), "an array", value);
  }

  /** `bound` is checked before anything is made of the items, as in strings(). */
  integers(name: string, bound?: ListBound): number[] | undefined {
    const values = this.array(name);
    this.checkLength(name, values?.length ?? 0, bound);
    return values?.map((value, i) => {
      if (!Number.isInteger(value)) throw wrongType(`${this.param(name)}[${i}]`, "an integer", value);
      return value as number;
    });
  }

  /** A string, or a list of strings. */
  strings(name: string, bound?: ListBound): string[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value === "string") return [value];
    if (!Array.isArray(value)) throw wrongType(this.param(name), "a string or an array of strings", value);
    this.checkLength(name, value.length, bound);
    return value.map((item, i) => {
      if (typeof item !== "string") throw wrongType(`${this.param(name)}[${i}]`, "a string", item);
      return item;
    });
  }

  /** Throws for a list of `length` items that is longer than its bound. */
  checkLength(name: string, length: number, bound: ListBound | undefined): void {
    if (bound === undefined || length <= bound.most) return;
    const message = `At most ${bound.most} ${bound.what} are allowed.`;
    throw invalidField(this.param(name), message, bound.reason ?? "invalid_value");
  }

  fields(name: string): Fields | undefined {
    const value = this.raw(name);
    return value === undefined ? undefined : fieldsOf(value, this.param(name));
  }

  names(): string[] {
    return Object.keys(this.object);
  }

  /** A copy of the object as it came. */
  toObject(): Record<string, unknown> {
    return { ...this.object };
  }

  missing(name: string): ServeError {
    const param = this.param(name);
    return invalidField(param, `Missing required parameter: '${param}'.`, "missing_required_parameter");
  }
}

/** A value that must be an object. */
export function fieldsOf(value: unknown, param: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrongType(param, "an object", value);
  return new Fields(value as Record<string, unknown>, param);
}
