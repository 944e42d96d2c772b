import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { ServeError } from "../../core/errors.ts";
import { readJsonFile } from "../json-fields.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { type ChosenFiles, chooseFiles } from "./choose-files.ts";
import { type HubId, requireHubId, requireRevision } from "./hub-id.ts";

/**
 * The cache that Hugging Face's tools share: CACHE/models--ORG--NAME/ with blobs/HASH, refs/REVISION (a commit) and
 * snapshots/COMMIT/PATH, links into blobs.
 * Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 */
export class RepoCache {
  readonly folder: string;
  /** Of this repository's files, while they are pulled. */
  readonly locks: string;

  constructor(cacheDir: string, repo: string) {
    const name = `models--${repo.replace("/", "--")}`;
    this.folder = join(cacheDir, name);
    this.locks = join(cacheDir, ".locks", name);
  }

  blob(digest: string): string {
    return join(this.folder, "blobs", digest);
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** The commit a branch or tag pointed to when it was last pulled. */
  commitOf(revision: string): string | undefined {
    if (/^[0-9a-f]{40}$/.test(revision)) return revision;
    const path = join(this.folder, "refs", revision);
    if (!existsSync(path)) return undefined;
    const commit = readFileSync(path, "utf8").trim();
    return /^[0-9a-f]{40}$/.test(commit) ? commit : undefined;
  }

  writeRef(revision: string, commit: string): void {
    if (revision === commit) return;
    const path = join(this.folder, "refs", revision);
    mkdirSync(dirname(path), { recursive: true });
    const partial = `${path}.${process.pid}`;
    writeFileSync(partial, commit);
    renameSync(partial, path);
  }

  /** Makes snapshots/COMMIT/PATH a link to a blob. */
  link(commit: string, path: string, digest: string): void {
    const place = join(this.snapshot(commit), path);
    mkdirSync(dirname(place), { recursive: true });
    const partial = `${place}.${process.pid}.link`;
    symlinkSync(relative(dirname(place), this.blob(digest)), partial);
    renameSync(partial, place);
  }
}

/**
 * The path of a model that is already in the cache, complete, for openModel; undefined otherwise. No network.
 * Throws ServeError for a malformed id.
 */
export function resolveCached(
  id: HubId | string,
  { cacheDir, revision = "main" }: { cacheDir: string; revision?: string | undefined },
): string | undefined {
  const hubId = typeof id === "string" ? requireHubId(id) : id;
  const cache = new RepoCache(cacheDir, hubId.repo);
  const commit = cache.commitOf(requireRevision(revision));
  if (commit === undefined) return undefined;
  const snapshot = cache.snapshot(commit);
  if (!existsSync(snapshot)) return undefined;
  // A link whose blob is gone does not exist for existsSync.
  const files = (readdirSync(snapshot, { recursive: true }) as string[]).filter((path) =>
    existsSync(join(snapshot, path)),
  );
  let chosen: ChosenFiles;
  try {
    chosen = chooseFiles(hubId, files);
  } catch (error) {
    if (error instanceof ServeError && error.code === "not_found") return undefined;
    throw error;
  }
  if (chosen.main !== undefined) return join(snapshot, chosen.main);
  // Other tools pull single files into the same snapshot.
  return files.includes("tokenizer.json") && hasAllShards(snapshot, files) ? snapshot : undefined;
}

function hasAllShards(snapshot: string, files: readonly string[]): boolean {
  const index = "model.safetensors.index.json";
  if (!files.includes(index)) return files.includes("model.safetensors");
  const weightMap = readJsonFile(join(snapshot, index), MODEL_BOUNDS.maxIndexBytes).object("weight_map");
  const shards = new Set(weightMap?.keys().map((name) => weightMap.string(name)!));
  return shards.size > 0 && [...shards].every((shard) => files.includes(shard));
}
