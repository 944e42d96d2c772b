import { LIMITS } from "../../config/limits.ts";

/** The peer broke HTTP/1.1, or a bound on what it may send. */
export class WireError extends Error {
  override name = "WireError";
}

/** Where the parser hands what it finds. Body ranges point into the buffer given to `push`; they may be kept. */
export interface ResponseSink {
  onHead(status: number, headers: ReadonlyMap<string, string>): void;
  onBody(buffer: Buffer, start: number, end: number): void;
  onEnd(): void;
}

/** What the next byte belongs to. `chunk-end` is the CRLF after a chunk's data. */
type State = "head" | "sized" | "chunk-size" | "chunk-data" | "chunk-end" | "trailer" | "until-close" | "done";

const LF = 10;
const CR = 13;

/**
 * An incremental HTTP/1.1 response parser over bytes (RFC 9112): status line, headers, then a body that is sized, chunked
 * or ended by close. It copies nothing but lines that straddle two reads. One instance serves a connection's responses in
 * turn; call `reset` between them.
 */
export class HttpResponseParser {
  #state: State = "head";
  /** The beginning of a line whose end has not arrived. */
  #partial = "";
  #headBytes = 0;
  #status = 0;
  #headers = new Map<string, string>();
  #remaining = 0;
  readonly #sink: ResponseSink;

  constructor(sink: ResponseSink) {
    this.#sink = sink;
  }

  /** True between responses: nothing of one has arrived. */
  get idle(): boolean {
    return this.#state === "head" && this.#headBytes === 0;
  }

  get done(): boolean {
    return this.#state === "done";
  }

  reset(): void {
    this.#state = "head";
    this.#partial = "";
    this.#headBytes = 0;
    this.#status = 0;
    this.#headers = new Map();
  }

  /** Consumes bytes; throws WireError on a malformed response. Bytes after the end of a response are an error too. */
  push(buffer: Buffer): void {
    let at = 0;
    while (at < buffer.length) {
      switch (this.#state) {
        case "sized":
        case "chunk-data": {
          const end = Math.min(buffer.length, at + this.#remaining);
          this.#remaining -= end - at;
          this.#sink.onBody(buffer, at, end);
          at = end;
          if (this.#remaining > 0) break;
          if (this.#state === "sized") this.#finish();
          else this.#state = "chunk-end";
          break;
        }
        case "until-close":
          this.#sink.onBody(buffer, at, buffer.length);
          at = buffer.length;
          break;
        case "done":
          throw new WireError("bytes after the end of the response");
        default: {
          const lineEnd = buffer.indexOf(LF, at);
          const end = lineEnd < 0 ? buffer.length : lineEnd;
          this.#headBytes += end - at;
          if (this.#headBytes > LIMITS.maxBenchHeadBytes) throw new WireError("headers or chunk size line too long");
          if (lineEnd < 0) {
            this.#partial += buffer.toString("latin1", at, end);
            return;
          }
          this.#line(buffer, at, end);
          at = lineEnd + 1;
        }
      }
    }
  }

  /** The connection closed. True when that is a proper end of the response. */
  close(): boolean {
    if (this.#state === "until-close") this.#finish();
    return this.#state === "done";
  }

  #line(buffer: Buffer, start: number, end: number): void {
    if (this.#state === "chunk-size" && this.#partial === "") {
      this.#startChunk(parseHex(buffer, start, end));
      return;
    }
    let line = this.#partial + buffer.toString("latin1", start, end);
    this.#partial = "";
    if (line.charCodeAt(line.length - 1) === CR) line = line.slice(0, -1);
    if (this.#state === "head") this.#headLine(line);
    else if (this.#state === "chunk-size") {
      const bytes = Buffer.from(line, "latin1");
      this.#startChunk(parseHex(bytes, 0, bytes.length));
    } else if (this.#state === "chunk-end") {
      if (line !== "") throw new WireError("chunk data is longer than its size");
      this.#state = "chunk-size";
      this.#headBytes = 0;
    } else if (line === "") this.#finish();
  }

  #headLine(line: string): void {
    if (this.#status === 0) {
      const match = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line);
      if (match === null) throw new WireError("the server does not speak HTTP/1.1");
      this.#status = Number(match[1]);
      return;
    }
    if (line !== "") {
      const colon = line.indexOf(":");
      if (colon <= 0) throw new WireError("malformed header line");
      this.#headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
      return;
    }
    // 1xx is an interim response: the real one follows.
    if (this.#status < 200) {
      this.reset();
      return;
    }
    this.#headBytes = 0;
    this.#sink.onHead(this.#status, this.#headers);
    const length = this.#headers.get("content-length");
    if (this.#status === 204 || this.#status === 304) this.#finish();
    else if (this.#headers.get("transfer-encoding")?.toLowerCase().endsWith("chunked")) this.#state = "chunk-size";
    else if (length === undefined) this.#state = "until-close";
    else if (!/^\d+$/.test(length)) throw new WireError("malformed Content-Length");
    else if ((this.#remaining = Number(length)) === 0) this.#finish();
    else this.#state = "sized";
  }

  #startChunk(size: number): void {
    this.#headBytes = 0;
    this.#remaining = size;
    this.#state = size === 0 ? "trailer" : "chunk-data";
  }

  #finish(): void {
    this.#state = "done";
    this.#sink.onEnd();
  }
}

/** A chunk size line: hex digits, then an extension or the CR. */
function parseHex(buffer: Buffer, start: number, end: number): number {
  let value = 0;
  let at = start;
  for (; at < end; at++) {
    const byte = buffer[at]!;
    const lower = byte | 0x20;
    if (byte >= 0x30 && byte <= 0x39) value = value * 16 + byte - 0x30;
    else if (lower >= 0x61 && lower <= 0x66) value = value * 16 + lower - 0x57;
    else break;
  }
  const rest = at < end ? buffer[at]! : CR;
  if (at === start || at - start > 8 || (rest !== CR && rest !== 0x3b && rest !== 0x20))
    throw new WireError("malformed chunk size");
  return value;
}
