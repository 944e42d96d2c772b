import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { failureReason } from "../core/failure-reason.ts";
import { STATUS } from "./abi.ts";
import { BackendError } from "./backend.ts";
import { createMemoryFile, NativeLibrary } from "./ffi.ts";

/** Bun mounts embedded files here; the system's loader cannot open such a path. */
const EMBEDDED_PREFIX = "/$bunfs/";

export interface LibraryOptions {
  /** A folder to extract the embedded library to; undefined: it is opened from memory. */
  readonly runtimeDir?: string | undefined;
  /** Open this library file instead of the one built in. */
  readonly libraryPath?: string | undefined;
}

let found: Promise<string> | undefined;

/**
 * A path of the CPU library that the system's loader can open. In a compiled binary the library is embedded: it is
 * copied once into an anonymous memory file, which needs no writable folder and none mounted without noexec, or into
 * runtimeDir; the first call decides. Pass the path to Workers: handles are shared only between users of one opened
 * file. Throws BackendError.
 */
export function locateLibrary(options: LibraryOptions = {}): Promise<string> {
  if (options.libraryPath !== undefined) return Promise.resolve(options.libraryPath);
  found ??= importLibrary().then((path) => (path.startsWith(EMBEDDED_PREFIX) ? extract(path, options) : path));
  return found;
}

async function importLibrary(): Promise<string> {
  try {
    // Not a static import: a tree whose library is not built yet must still run everything that needs none.
    const module = await import("../../build/libscalellm_cpu.so", { with: { type: "file" } });
    return module.default;
  } catch (error) {
    throw new BackendError(STATUS.io, `The CPU library is not built (run make native): ${(error as Error).message}`);
  }
}

async function extract(embeddedPath: string, { runtimeDir }: LibraryOptions): Promise<string> {
  const bytes = new Uint8Array(await Bun.file(embeddedPath).arrayBuffer());
  return runtimeDir === undefined ? writeToMemory(bytes) : writeToFolder(bytes, runtimeDir);
}

/** The file lives as long as the process: the descriptor stays open, since Workers open the path again. */
function writeToMemory(bytes: Uint8Array): string {
  let fd: number;
  try {
    fd = createMemoryFile("libscalellm_cpu.so");
  } catch (error) {
    const { status, message } = error as BackendError;
    throw new BackendError(status, `${message}; give --runtime-dir, a folder to extract the CPU library to`);
  }
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done);
  return `/proc/self/fd/${fd}`;
}

/** Named by its content, so that versions do not overwrite each other while they run. */
function writeToFolder(bytes: Uint8Array, folder: string): string {
  const digest = createHash("sha256").update(bytes).digest("hex");
  const path = join(folder, `libscalellm_cpu-${digest.slice(0, 16)}.so`);
  try {
    mkdirSync(folder, { recursive: true });
    // A file left by an earlier run is used only if it is whole and unchanged.
    const intact = existsSync(path) && statSync(path).size === bytes.length && readFileSync(path).equals(bytes);
    if (!intact) {
      const partial = `${path}.${process.pid}`;
      writeFileSync(partial, bytes, { mode: 0o755 });
      renameSync(partial, path);
    }
  } catch (error) {
    throw new BackendError(STATUS.io, `The CPU library cannot be written to ${folder}: ${failureReason(error)}`);
  }
  return path;
}

const opened = new Map<string, NativeLibrary>();

/** Opens a located library, once a thread. Throws BackendError. */
export function openLibrary(path: string): NativeLibrary {
  let library = opened.get(path);
  if (library === undefined) {
    library = new NativeLibrary(path);
    opened.set(path, library);
  }
  return library;
}
