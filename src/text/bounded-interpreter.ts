import { Environment, Interpreter } from "@huggingface/jinja";
import { strftime } from "./strftime.ts";

type Value = ReturnType<Interpreter["evaluate"]>;
type Statement = Parameters<Interpreter["evaluate"]>[0];

/** What the interpreter has and does not declare. */
interface Filter {
  readonly type: string;
  /** Of an Identifier: its name; of a CallExpression there is `callee`. */
  readonly value?: string;
  readonly callee?: { readonly value?: string };
  readonly args?: readonly Argument[];
}
type Argument = NonNullable<Statement> & { readonly value?: unknown };
interface OpenInterpreter {
  run: Interpreter["run"];
  evaluate(statement: Statement, environment: Environment): Value;
  applyFilter(operand: Value, filter: Filter, environment: Environment): Value;
}
const Base = Interpreter as unknown as new (environment: Environment) => OpenInterpreter;

/** Nodes whose value another node has made. */
const MAKES_NOTHING = new Set(["Identifier", "SelectExpression", "Ternary", "StringLiteral", "Comment"]);
/** Filters whose result may be as large as their operand times an argument: checked before they run. */
const MULTIPLIERS = new Set(["replace", "join", "indent", "tojson"]);
/** One number, boolean or entry of a list, in characters: about what it takes in memory. */
const VALUE_CHARS = 8;
/** No single string needs a larger share. */
const LARGEST_SHARE = 4;

export class TemplateMemoryError extends Error {
  constructor(maxChars: number) {
    super(`it builds more than ${maxChars} characters on the way`);
    this.name = "TemplateMemoryError";
  }
}

/**
 * Runs a template and counts what it makes: the characters of every string, list and mapping, those inside others with them.
 * Strings that double, lists that hold each other twice and ranges without end are stopped before they fill the memory;
 * a deadline alone would let a template have gigabytes within its seconds. Throws TemplateMemoryError.
 */
export class BoundedInterpreter extends Base {
  readonly #maxChars: number;
  #chars = 0;
  /** Lists and mappings never change once made, so each is measured once. */
  readonly #sizes = new WeakMap<object, number>();

  /** `variables` are set as Template.render sets them. */
  constructor(variables: Readonly<Record<string, unknown>>, maxChars: number) {
    const environment = new Environment();
    super(environment);
    this.#maxChars = maxChars;
    for (const [name, value] of Object.entries(globals((count) => this.#take(count * VALUE_CHARS)))) {
      environment.set(name, value);
    }
    for (const [name, value] of Object.entries(variables)) environment.set(name, value);
  }

  override evaluate(statement: Statement, environment: Environment): Value {
    const value = super.evaluate(statement, environment);
    if (statement !== undefined && !MAKES_NOTHING.has(statement.type)) this.#take(this.#size(value));
    return value;
  }

  override applyFilter(operand: Value, filter: Filter, environment: Environment): Value {
    if (MULTIPLIERS.has(filter.callee?.value ?? "")) {
      let factor = 1;
      for (const argument of filter.args ?? []) {
        const expression = argument.type === "KeywordArgumentExpression" ? argument.value : argument;
        factor += this.#size(super.evaluate(expression as Statement, environment), true);
      }
      this.#check(this.#size(operand) * factor);
    }
    return super.applyFilter(operand, filter, environment);
  }

  #take(chars: number): void {
    if (chars * LARGEST_SHARE > this.#maxChars) throw new TemplateMemoryError(this.#maxChars);
    this.#chars += chars;
    this.#check(this.#chars);
  }

  #check(chars: number): void {
    if (chars > this.#maxChars) throw new TemplateMemoryError(this.#maxChars);
  }

  /** `asFactor`: a number counts as itself, as the width of an indentation does. */
  #size(value: Value, asFactor = false): number {
    const content: unknown = value.value;
    if (typeof content === "string") return content.length;
    if (typeof content === "number") return asFactor ? Math.abs(content) : VALUE_CHARS;
    if (value.type === "NamespaceValue" || typeof content !== "object" || content === null) return VALUE_CHARS;
    let size = this.#sizes.get(content);
    if (size === undefined) {
      size = VALUE_CHARS;
      const items = content instanceof Map ? content.entries() : (content as Value[]).entries();
      for (const [name, item] of items) {
        size += VALUE_CHARS + this.#size(item as Value) + (typeof name === "string" ? name.length : 0);
      }
      this.#sizes.set(content, size);
    }
    return size;
  }
}

/** Those that @huggingface/jinja gives every template; it does not export them. */
function globals(take: (values: number) => void): Record<string, unknown> {
  return {
    false: false,
    true: true,
    none: null,
    False: false,
    True: true,
    None: null,
    raise_exception: (message: string) => {
      throw new Error(message);
    },
    strftime_now: (format: string) => strftime(new Date(), format),
    range: (start: number, stop?: number, step = 1) => {
      const [from, to] = stop === undefined ? [0, start] : [start, stop];
      if (step === 0) throw new Error("range() step must not be zero");
      const count = Math.max(0, Math.ceil((to - from) / step));
      take(count);
      return Array.from({ length: count }, (_, i) => from + i * step);
    },
  };
}
