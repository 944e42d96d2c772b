import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { FileRange } from "./embedded-file.ts";
import { ModelError } from "./model-error.ts";

/**
 * Random access to a file, or to a range of one (a model embedded in the running executable, at any alignment), for
 * headers: weights are read by native code. Offsets are relative to the
 * region; every read is checked against it. Owns a file descriptor: close it.
 */
export class FileSource {
  readonly path: string;
  readonly baseOffset: number;
  readonly length: number;
  #fd: number | undefined;

  /** Opens a whole file, or the given region of it, read-only. Throws ModelError. */
  constructor(place: string | FileRange) {
    this.path = typeof place === "string" ? place : place.path;
    let fd: number;
    try {
      fd = openSync(this.path, "r");
    } catch (error) {
      throw new ModelError(this.path, undefined, `cannot be opened (${(error as NodeJS.ErrnoException).code})`, error);
    }
    this.#fd = fd;
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw new ModelError(this.path, undefined, "is not a regular file");
      this.baseOffset = typeof place === "string" ? 0 : place.baseOffset;
      this.length = typeof place === "string" ? stat.size : place.length;
      const inRange =
        Number.isSafeInteger(this.baseOffset) &&
        Number.isSafeInteger(this.length) &&
        this.baseOffset >= 0 &&
        this.length >= 0 &&
        this.baseOffset + this.length <= stat.size;
      if (!inRange) {
        throw new ModelError(
          this.path,
          undefined,
          `the region of ${this.length} bytes at ${this.baseOffset} lies outside the file's ${stat.size} bytes`,
        );
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Fills `target` from `offset`. Throws ModelError naming `field` where the region ends first. */
  readInto(target: Uint8Array, offset: number, field?: string): void {
    if (this.#fd === undefined) throw new ModelError(this.path, field, "is already closed");
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + target.length > this.length) {
      throw new ModelError(
        this.path,
        field,
        `the file ends early: ${target.length} bytes at ${offset} are outside its ${this.length}`,
      );
    }
    let done = 0;
    while (done < target.length) {
      const count = readSync(this.#fd, target, done, target.length - done, this.baseOffset + offset + done);
      if (count === 0) throw new ModelError(this.path, field, "shrank while it was read");
      done += count;
    }
  }

  read(offset: number, numBytes: number, field?: string): Buffer {
    // Checked before the allocation: a hostile length must not become one.
    if (numBytes > this.length) {
      throw new ModelError(this.path, field, `${numBytes} bytes are more than the file's ${this.length}`);
    }
    const bytes = Buffer.allocUnsafe(numBytes);
    this.readInto(bytes, offset, field);
    return bytes;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
