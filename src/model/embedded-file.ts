import { closeSync, openSync, readSync } from "node:fs";

/** A range of a file that holds a checkpoint; the bundled model is one inside the running executable. */
export interface FileRange {
  readonly path: string;
  readonly baseOffset: number;
  readonly length: number;
}

/** Bun mounts embedded files here; native code cannot open such a path. */
const EMBEDDED_PREFIX = "/$bunfs/";
/** Enough of the file's head to tell it from anything else in the executable. */
const NEEDLE_BYTES = 4096;
const CHUNK_BYTES = 1024 * 1024;

/**
 * Where an imported file lies on disk. `bun build --compile` puts embedded files uncompressed into the ELF section .bun
 * of the executable, so that native code can read them in place and no second copy is needed.
 * Throws Error when the executable has no such section (it was packed or stripped) or does not hold the file.
 */
export async function locateEmbeddedFile(importedPath: string): Promise<FileRange> {
  const file = Bun.file(importedPath);
  if (!importedPath.startsWith(EMBEDDED_PREFIX)) return { path: importedPath, baseOffset: 0, length: file.size };
  const needle = Buffer.from(await file.slice(0, NEEDLE_BYTES).arrayBuffer());
  const executable = process.execPath;
  const fd = openSync(executable, "r");
  try {
    const section = findSection(fd, ".bun");
    const baseOffset = section && findBytes(fd, needle, section.offset, section.offset + section.size);
    if (baseOffset === undefined) {
      throw new Error(`${executable} does not hold ${importedPath} where it was built in; was it stripped or packed?`);
    }
    return { path: executable, baseOffset, length: file.size };
  } finally {
    closeSync(fd);
  }
}

function readAt(fd: number, length: number, offset: number): Buffer {
  const buffer = Buffer.alloc(length);
  return buffer.subarray(0, readSync(fd, buffer, 0, length, offset));
}

/** ELF64 little-endian section look-up, by the System V ABI's chapter on object files. */
function findSection(fd: number, name: string): { offset: number; size: number } | undefined {
  const header = readAt(fd, 64, 0);
  if (header.length < 64 || header.toString("latin1", 0, 4) !== "\x7fELF") return undefined;
  const entrySize = header.readUInt16LE(58);
  const count = header.readUInt16LE(60);
  const table = readAt(fd, entrySize * count, Number(header.readBigUInt64LE(40)));
  const range = (index: number) => ({
    offset: Number(table.readBigUInt64LE(index * entrySize + 24)),
    size: Number(table.readBigUInt64LE(index * entrySize + 32)),
  });
  const names = range(header.readUInt16LE(62));
  const strings = readAt(fd, names.size, names.offset);
  for (let i = 0; i < count; i++) {
    const start = table.readUInt32LE(i * entrySize);
    if (strings.toString("latin1", start, strings.indexOf(0, start)) === name) return range(i);
  }
  return undefined;
}

function findBytes(fd: number, needle: Buffer, from: number, to: number): number | undefined {
  for (let position = from; position + needle.length <= to; position += CHUNK_BYTES - needle.length) {
    const found = readAt(fd, Math.min(CHUNK_BYTES, to - position), position).indexOf(needle);
    if (found >= 0) return position + found;
  }
  return undefined;
}
