import { SseParser } from "./sse-parser.ts";

/** What a completion stream has shown so far. */
export interface StreamState {
  chunkMs: number[];
  /** `data: [DONE]` was read. */
  sawDone: boolean;
  finishReason: string | undefined;
  usage: { promptTokens: number; completionTokens: number } | undefined;
  /** The message of an error event. */
  error: string | undefined;
}

export function emptyState(): StreamState {
  return { chunkMs: [], sawDone: false, finishReason: undefined, usage: undefined, error: undefined };
}

/** `"content":"` as a server writes it, and where it begins in a payload. */
export interface TextPlace {
  needle: Buffer | undefined;
  offset: number;
}

/** Keys whose non-empty string is output text, as they lie on the wire. */
const TEXT_KEYS = ["content", "text", "reasoning_content", "reasoning"] as const;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Reads the events of one OpenAI completion stream. An event is parsed as JSON only until the place of its text is known:
 * events of a stream share their head (id, model, created), so the text's key lies at the same offset in the next one,
 * and six compared bytes tell a content event from another. What does not match is parsed; nothing is guessed.
 *
 * The raw key can't be found inside a string at that offset: a quote within a JSON string is escaped.
 */
export class StreamReader {
  readonly state = emptyState();
  /** The text so far, when asked to keep it (conversations need the reply). */
  readonly #payloads: Buffer[] | undefined;
  readonly #sse = new SseParser((buffer, start, end) => this.#event(buffer, start, end));
  readonly #place: TextPlace;
  #nowMs = 0;
  /** The last content event, unparsed; a range, because an object for each event would feed the garbage collector. */
  #lastBuffer: Buffer | undefined;
  #lastStart = 0;
  #lastEnd = 0;

  /** Streams of one server share the place, so that a new stream's first event is known too. */
  constructor(keepText: boolean, place: TextPlace) {
    this.#place = place;
    this.#payloads = keepText ? [] : undefined;
  }

  /** Bytes of the body that arrived at `nowMs`. Throws WireError on an event that is not JSON or is too long. */
  push(buffer: Buffer, start: number, end: number, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#sse.push(buffer, start, end);
  }

  /** After the last event: a server may put usage and the finish reason into its last content event. */
  finish(): void {
    if (this.#lastBuffer !== undefined) this.#parse(this.#lastBuffer.subarray(this.#lastStart, this.#lastEnd));
    this.#lastBuffer = undefined;
  }

  /** The whole output; call after the stream's end. */
  text(): string {
    return (this.#payloads ?? []).map((payload) => textOf(JSON.parse(payload.toString("utf8"))) ?? "").join("");
  }

  #event(buffer: Buffer, start: number, end: number): void {
    const { needle } = this.#place;
    if (needle !== undefined) {
      const at = start + this.#place.offset;
      const after = at + needle.length;
      if (after < end && buffer[after] !== QUOTE && matchesAt(buffer, at, needle)) {
        this.#lastBuffer = buffer;
        this.#lastStart = start;
        this.#lastEnd = end;
        this.state.chunkMs.push(this.#nowMs);
        this.#payloads?.push(buffer.subarray(start, end));
        return;
      }
    }
    if (end - start === 6 && buffer.toString("latin1", start, end) === "[DONE]") {
      this.state.sawDone = true;
      return;
    }
    const payload = buffer.subarray(start, end);
    this.#lastBuffer = undefined;
    if (!this.#parse(payload)) return;
    this.#learn(payload);
    this.state.chunkMs.push(this.#nowMs);
    this.#payloads?.push(payload);
  }

  /** Takes what an event says beside its text; true when it has text. */
  #parse(payload: Buffer): boolean {
    let event: unknown;
    try {
      event = JSON.parse(payload.toString("utf8"));
    } catch {
      this.state.error ??= "an event is not JSON";
      return false;
    }
    if (!isObject(event)) return false;
    if (isObject(event.error) || typeof event.error === "string") {
      const message = isObject(event.error) ? event.error.message : event.error;
      this.state.error ??= typeof message === "string" ? message : "the server reported an error";
      return false;
    }
    if (isObject(event.usage)) {
      const { prompt_tokens, completion_tokens } = event.usage;
      if (typeof completion_tokens === "number") {
        const promptTokens = typeof prompt_tokens === "number" ? prompt_tokens : 0;
        this.state.usage = { promptTokens, completionTokens: completion_tokens };
      }
    }
    const choice = firstChoice(event);
    if (typeof choice?.finish_reason === "string") this.state.finishReason = choice.finish_reason;
    return textOf(event) !== undefined;
  }

  #learn(payload: Buffer): void {
    for (const key of TEXT_KEYS) {
      for (const pattern of [`"${key}":"`, `"${key}": "`]) {
        const at = payload.indexOf(pattern);
        // An empty string or an escaped quote would not be the text of this event.
        if (at < 0 || payload[at + pattern.length] === QUOTE || (at > 0 && payload[at - 1] === BACKSLASH)) continue;
        this.#place.needle = Buffer.from(pattern);
        this.#place.offset = at;
        return;
      }
    }
  }
}

/** The output text of an event: a chat delta's content, reasoning or tool call, or a completion's text. */
function textOf(event: unknown): string | undefined {
  if (!isObject(event)) return undefined;
  const choice = firstChoice(event);
  const holder = isObject(choice?.delta) ? choice.delta : choice;
  if (holder === undefined) return undefined;
  for (const key of TEXT_KEYS) {
    const value = holder[key];
    if (typeof value === "string" && value !== "") return value;
  }
  return Array.isArray(holder.tool_calls) && holder.tool_calls.length > 0 ? "" : undefined;
}

function firstChoice(event: Record<string, unknown>): Record<string, unknown> | undefined {
  const choice = Array.isArray(event.choices) ? event.choices[0] : undefined;
  return isObject(choice) ? choice : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function matchesAt(buffer: Buffer, at: number, needle: Buffer): boolean {
  for (let i = 0; i < needle.length; i++) if (buffer[at + i] !== needle[i]) return false;
  return true;
}
