import { LIMITS } from "../../config/limits.ts";
import { WireError } from "./http-response-parser.ts";

const LF = 10;
const CR = 13;
const SPACE = 32;

/**
 * Finds the payloads of `data:` lines in the bytes of an event stream (WHATWG HTML, server-sent events), wherever reads
 * cut it, and hands each as a range of a buffer. OpenAI streams carry one data line an event, so a data line is the event;
 * comments and other fields are skipped. Lines end in LF or CRLF. Only a line that straddles two reads is copied.
 */
export class SseParser {
  #partial: Buffer | undefined;
  readonly #onData: (buffer: Buffer, start: number, end: number) => void;

  constructor(onData: (buffer: Buffer, start: number, end: number) => void) {
    this.#onData = onData;
  }

  /** Throws WireError when a line outgrows its bound. */
  push(buffer: Buffer, start: number, end: number): void {
    let at = start;
    if (this.#partial !== undefined) {
      const lineEnd = indexOfLf(buffer, at, end);
      const stop = lineEnd < 0 ? end : lineEnd;
      const joined = Buffer.concat([this.#partial, buffer.subarray(at, stop)]);
      if (joined.length > LIMITS.maxBenchEventBytes) throw new WireError("an event is too long");
      if (lineEnd < 0) {
        this.#partial = joined;
        return;
      }
      this.#partial = undefined;
      this.#line(joined, 0, joined.length);
      at = lineEnd + 1;
    }
    while (at < end) {
      const lineEnd = indexOfLf(buffer, at, end);
      if (lineEnd < 0) {
        this.#partial = Buffer.from(buffer.subarray(at, end));
        return;
      }
      this.#line(buffer, at, lineEnd);
      at = lineEnd + 1;
    }
  }

  reset(): void {
    this.#partial = undefined;
  }

  #line(buffer: Buffer, start: number, lineEnd: number): void {
    const end = lineEnd > start && buffer[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
    // "data:"
    if (
      end - start < 5 ||
      buffer[start] !== 0x64 ||
      buffer[start + 1] !== 0x61 ||
      buffer[start + 2] !== 0x74 ||
      buffer[start + 3] !== 0x61 ||
      buffer[start + 4] !== 0x3a
    )
      return;
    const from = start + 5;
    this.#onData(buffer, from < end && buffer[from] === SPACE ? from + 1 : from, end);
  }
}

function indexOfLf(buffer: Buffer, start: number, end: number): number {
  const at = buffer.indexOf(LF, start);
  return at < end ? at : -1;
}
