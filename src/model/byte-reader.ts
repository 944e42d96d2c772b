import type { FileSource } from "./file-source.ts";
import { ModelError } from "./model-error.ts";

/** Bytes fetched at once: a header with a 50 k vocabulary is 2 MB, so a few reads. */
const WINDOW_BYTES = 1024 * 1024;

/** A forward cursor over a FileSource for little-endian headers. Every read is checked; errors name `field`. */
export class ByteReader {
  readonly #source: FileSource;
  readonly #limit: number;
  #window: Buffer = Buffer.alloc(0);
  /** Offset of the window in the source, and of the cursor in the window. */
  #windowStart = 0;
  #cursor = 0;
  /** What is being read, for errors. */
  field: string | undefined;

  /** Reading past `limit` bytes is an error, so that a hostile header of a huge sparse file ends somewhere. */
  constructor(source: FileSource, limit: number) {
    this.#source = source;
    this.#limit = limit;
  }

  get offset(): number {
    return this.#windowStart + this.#cursor;
  }

  get remaining(): number {
    return this.#source.length - this.offset;
  }

  u32(): number {
    const at = this.#take(4);
    return this.#window.readUInt32LE(at);
  }

  i32(): number {
    const at = this.#take(4);
    return this.#window.readInt32LE(at);
  }

  u64(): bigint {
    const at = this.#take(8);
    return this.#window.readBigUInt64LE(at);
  }

  i64(): bigint {
    const at = this.#take(8);
    return this.#window.readBigInt64LE(at);
  }

  f32(): number {
    const at = this.#take(4);
    return this.#window.readFloatLE(at);
  }

  f64(): number {
    const at = this.#take(8);
    return this.#window.readDoubleLE(at);
  }

  u8(): number {
    const at = this.#take(1);
    return this.#window.readUInt8(at);
  }

  i8(): number {
    const at = this.#take(1);
    return this.#window.readInt8(at);
  }

  u16(): number {
    const at = this.#take(2);
    return this.#window.readUInt16LE(at);
  }

  i16(): number {
    const at = this.#take(2);
    return this.#window.readInt16LE(at);
  }

  /** A u64 that must be a count of at most `max`. */
  count(what: string, max: number): number {
    const at = this.#take(8);
    const value = this.#window.readUInt32LE(at) + this.#window.readUInt32LE(at + 4) * 2 ** 32;
    if (value > max) throw this.error(`${what} is ${value}, more than the ${max} allowed`);
    return value;
  }

  /** A string of a u64 length and that many bytes of UTF-8 (invalid bytes become U+FFFD). */
  string(maxBytes: number): string {
    const length = this.count("a string's length", maxBytes);
    const start = this.#take(length);
    return this.#window.toString("utf8", start, start + length);
  }

  error(problem: string): ModelError {
    return new ModelError(this.#source.path, this.field, problem);
  }

  /** Makes `numBytes` available, which may replace the window, and moves past them; returns where they start in it. */
  #take(numBytes: number): number {
    if (this.offset + numBytes > this.#limit) throw this.error(`the header is longer than ${this.#limit} bytes`);
    if (this.#cursor + numBytes > this.#window.length) {
      const start = this.offset;
      const left = this.#source.length - start;
      if (numBytes > left) throw this.error(`the file ends early: ${numBytes} bytes wanted, ${left} left`);
      this.#window = this.#source.read(start, Math.min(left, Math.max(numBytes, WINDOW_BYTES)), this.field);
      this.#windowStart = start;
      this.#cursor = 0;
    }
    const at = this.#cursor;
    this.#cursor += numBytes;
    return at;
  }
}
