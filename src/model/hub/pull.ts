import { existsSync, mkdirSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "../../core/clock.ts";
import { ServeError } from "../../core/errors.ts";
import { failureReason, isSystemFailure } from "../../core/failure-reason.ts";
import { withLock } from "./blob-lock.ts";
import { RepoCache } from "./cache-layout.ts";
import { chooseFiles } from "./choose-files.ts";
import { downloadBlob } from "./download-blob.ts";
import { cancelled, type HubAccess } from "./hub-fetch.ts";
import { type HubId, requireHubId, requireRevision } from "./hub-id.ts";
import { listRepo, type RepoFile } from "./list-repo.ts";

export interface PullOptions {
  readonly endpoint: string;
  readonly token?: string | undefined;
  /** Where Hugging Face's tools keep models: $HF_HOME/hub. */
  readonly cacheDir: string;
  /** A branch, tag or commit. Default "main". */
  readonly revision?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  onProgress?(progress: PullProgress): void;
  /** Files at once. Default 4. */
  readonly concurrency?: number;
  /** Pause before the first retry of a file; doubles each time. Default 500. */
  readonly backoffMs?: number;
  /** A connection that brings nothing for this long is given up and tried again. Default 30,000. */
  readonly stallMs?: number;
  readonly clock?: Clock;
}

export interface PullProgress {
  /** The file's path in the repository. */
  readonly file: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** "listed" once for every file before any byte; "cached": nothing to download; "done": verified and in place. */
  readonly state: "listed" | "waiting" | "downloading" | "verifying" | "cached" | "done";
}

export interface PulledModel {
  /** For openModel: the GGUF file, or the folder. */
  readonly path: string;
  readonly commit: string;
  readonly files: readonly string[];
}

/** A CDN gives one connection 50 to 100 MB/s: more than 4 gain little and look like abuse. */
const DEFAULT_CONCURRENCY = 4;

/**
 * Brings a model into the cache: safetensors with their JSON files, or the GGUF that `id` names. What is there is kept,
 * partial files are continued, contents are verified against the hub's hashes; two pulls of one file take turns.
 * Throws ServeError: not_found, unauthenticated, permission_denied, unavailable, cancelled.
 */
export async function pull(id: HubId | string, options: PullOptions): Promise<PulledModel> {
  try {
    return await pullModel(id, options);
  } catch (error) {
    if (error instanceof ServeError || !isSystemFailure(error)) throw error;
    // A disk that is full, a folder that is read-only, a path that is too long.
    const why = failureReason(error);
    throw new ServeError("unavailable", `The cache ${options.cacheDir} cannot take the model: ${why}`, {
      cause: error,
    });
  }
}

async function pullModel(id: HubId | string, options: PullOptions): Promise<PulledModel> {
  const hubId = typeof id === "string" ? requireHubId(id) : id;
  const revision = requireRevision(options.revision ?? "main");
  // Ends the other downloads when one fails.
  const failure = new AbortController();
  const signal = options.signal === undefined ? failure.signal : AbortSignal.any([options.signal, failure.signal]);
  const { endpoint, token, backoffMs, stallMs } = options;
  const access: HubAccess = { endpoint, token, signal, backoffMs, stallMs };
  const listing = await listRepo(access, hubId.repo, revision);
  const byPath = new Map(listing.files.map((file) => [file.path, file]));
  const chosen = chooseFiles(hubId, [...byPath.keys()]);
  const files = chosen.paths.map((path) => byPath.get(path)!);
  const cache = new RepoCache(options.cacheDir, hubId.repo);
  for (const file of files) report(options, file, 0, "listed");
  checkSpace(cache, files);

  const queue = files.values();
  const pullFiles = async () => {
    for (const file of queue) await pullFile({ file, hubId, commit: listing.commit, cache, access, options });
  };
  const workers = Array.from({ length: options.concurrency ?? DEFAULT_CONCURRENCY }, pullFiles);
  try {
    await Promise.all(workers);
  } catch (error) {
    failure.abort();
    await Promise.allSettled(workers);
    throw options.signal?.aborted ? cancelled(hubId.repo) : error;
  }
  // Last: a revision that is named here is complete.
  cache.writeRef(revision, listing.commit);
  const snapshot = cache.snapshot(listing.commit);
  const path = chosen.main === undefined ? snapshot : join(snapshot, chosen.main);
  return { path, commit: listing.commit, files: chosen.paths };
}

async function pullFile(task: {
  file: RepoFile;
  hubId: HubId;
  commit: string;
  cache: RepoCache;
  access: HubAccess;
  options: PullOptions;
}): Promise<void> {
  const { file, hubId, commit, cache, access, options } = task;
  const target = cache.blob(file.digest.hex);
  if (existsSync(target)) {
    report(options, file, file.sizeBytes, "cached");
  } else {
    report(options, file, 0, "waiting");
    // Not the name that huggingface_hub locks with flock: it leaves its files behind.
    const lock = join(cache.locks, `${file.digest.hex}.pull.lock`);
    await withLock(lock, { clock: options.clock ?? systemClock, signal: access.signal, what: file.path }, async () => {
      // Another process may have brought it while this one waited.
      if (existsSync(target)) return;
      const url = `${access.endpoint}/${hubId.repo}/resolve/${commit}/${file.path.split("/").map(encodeURIComponent).join("/")}`;
      const onBytes = (doneBytes: number) => report(options, file, doneBytes, "downloading");
      const onVerify = () => report(options, file, file.sizeBytes, "verifying");
      await downloadBlob({ access, url, file, target, onBytes, onVerify });
    });
    report(options, file, file.sizeBytes, "done");
  }
  cache.link(commit, file.path, file.digest.hex);
}

/** Refuses a pull that cannot fit before it fills the disk. */
function checkSpace(cache: RepoCache, files: readonly RepoFile[]): void {
  mkdirSync(cache.folder, { recursive: true });
  let needed = 0;
  for (const { digest, sizeBytes } of files) {
    const target = cache.blob(digest.hex);
    if (existsSync(target)) continue;
    needed += Math.max(0, sizeBytes - (statSync(`${target}.incomplete`, { throwIfNoEntry: false })?.size ?? 0));
  }
  const { bavail, bsize } = statfsSync(cache.folder);
  if (needed > bavail * bsize) {
    const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
    throw new ServeError(
      "unavailable",
      `The model needs ${gigabytes(needed)} in ${cache.folder}, which has ${gigabytes(bavail * bsize)} free`,
    );
  }
}

function report(options: PullOptions, file: RepoFile, doneBytes: number, state: PullProgress["state"]): void {
  options.onProgress?.({ file: file.path, doneBytes, totalBytes: file.sizeBytes, state });
}
