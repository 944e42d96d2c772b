import { createHash, type Hash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { ServeError } from "../../core/errors.ts";
import { failureReason } from "../../core/failure-reason.ts";
import { backOff, cancelled, type HubAccess, hubGet, isTransient, MAX_ATTEMPTS, statusError } from "./hub-fetch.ts";
import type { RepoFile } from "./list-repo.ts";

const DEFAULT_STALL_MS = 30_000;

export interface BlobDownload {
  readonly access: HubAccess;
  readonly url: string;
  readonly file: RepoFile;
  /** Where the blob belongs; it appears there whole and verified, or not at all. */
  readonly target: string;
  onBytes(doneBytes: number): void;
  /** Everything is there; its hash is computed, at about 1 GB/s. */
  onVerify(): void;
}

/**
 * Downloads one file to `target`, continuing TARGET.incomplete where an earlier attempt (of this or another tool) left
 * it. The content must have the listed size and hash: a mismatch discards it, and is tried once more from the start,
 * since a stale partial file may be to blame. Attempts that bring bytes do not count. Throws ServeError.
 */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { target, file, access } = download;
  const incomplete = `${target}.incomplete`;
  mkdirSync(dirname(target), { recursive: true });
  for (let mismatches = 0; ; ) {
    await fetchAll(download, incomplete);
    download.onVerify();
    if (await verify(incomplete, file)) break;
    rmSync(incomplete, { force: true });
    if (++mismatches > 1) {
      throw new ServeError(
        "unavailable",
        `${file.path} from ${access.endpoint} is corrupt: its ${file.digest.kind} is wrong`,
      );
    }
    download.onBytes(0);
  }
  renameSync(incomplete, target);
}

/**
 * Attempts until the incomplete file has the listed size. Only an attempt that comes further than any before it is
 * progress: a file that is shorter than it is listed would otherwise be brought again for ever.
 */
async function fetchAll(download: BlobDownload, incomplete: string): Promise<void> {
  const { file, access } = download;
  let furthest = sizeOf(incomplete);
  for (let failures = 0; ; ) {
    const before = sizeOf(incomplete);
    if (before === file.sizeBytes && existsSync(incomplete)) return;
    if (before > file.sizeBytes) {
      rmSync(incomplete, { force: true });
      furthest = 0;
    }
    let problem: unknown;
    try {
      await fetchOnce(download, incomplete);
    } catch (error) {
      if (access.signal?.aborted) throw cancelled(file.path);
      if (error instanceof ServeError) throw error;
      problem = error;
    }
    if (problem === undefined && sizeOf(incomplete) >= file.sizeBytes) continue;
    const reached = sizeOf(incomplete);
    failures = reached > furthest ? 1 : failures + 1;
    furthest = Math.max(furthest, reached);
    if (failures >= MAX_ATTEMPTS) {
      const reason = problem === undefined ? "the connection ends early" : failureReason(problem);
      throw new ServeError("unavailable", `${file.path} cannot be downloaded from ${access.endpoint}: ${reason}`, {
        cause: problem,
      });
    }
    await backOff(access, failures, file.path);
  }
}

/** One request for what is missing. Returns when the connection ends, whether or not everything came. */
async function fetchOnce({ access, url, file, onBytes }: BlobDownload, incomplete: string): Promise<void> {
  const start = sizeOf(incomplete);
  const stall = new AbortController();
  const stallMs = access.stallMs ?? DEFAULT_STALL_MS;
  const timer = setTimeout(() => stall.abort(new Error(`no data for ${stallMs / 1000} s`)), stallMs);
  const signal = access.signal === undefined ? stall.signal : AbortSignal.any([access.signal, stall.signal]);
  let handle: FileHandle | undefined;
  try {
    // Compressed, a range would count other bytes than the file's.
    const headers: Record<string, string> = { "accept-encoding": "identity" };
    if (start > 0) headers.range = `bytes=${start}-`;
    const response = await hubGet(access, url, { headers, signal });
    const resumed = start > 0 && response.status === 206 && continuesAt(response, start, file.sizeBytes);
    if (!resumed && response.status !== 200) {
      await response.body?.cancel();
      if (response.status === 416 || response.status === 206) {
        // The server does not take our range: start over.
        rmSync(incomplete, { force: true });
        throw new Error(`the server answered ${response.status} to a range`);
      }
      if (isTransient(response.status)) throw new Error(`the server answered ${response.status}`);
      throw statusError(response.status, file.path, access);
    }
    handle = await open(incomplete, resumed ? "a" : "w");
    let done = resumed ? start : 0;
    for await (const chunk of response.body ?? []) {
      timer.refresh();
      if (done + chunk.length > file.sizeBytes) throw new Error("the server sends more than the file's size");
      await writeAll(handle, chunk);
      done += chunk.length;
      onBytes(done);
    }
  } finally {
    clearTimeout(timer);
    await handle?.close();
  }
}

function continuesAt(response: Response, start: number, size: number): boolean {
  const match = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  return match !== null && Number(match[1]) === start && (match[2] === "*" || Number(match[2]) === size);
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await handle.write(bytes, done)).bytesWritten;
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

async function verify(path: string, { digest, sizeBytes }: RepoFile): Promise<boolean> {
  const hash: Hash = createHash(digest.kind === "sha256" ? "sha256" : "sha1");
  // Git hashes a blob with a header of its kind and size.
  if (digest.kind === "git-sha1") hash.update(`blob ${sizeBytes}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest("hex") === digest.hex;
}
