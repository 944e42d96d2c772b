import { ServeError } from "../../core/errors.ts";
import { reflected } from "../../core/reflected.ts";

/** ORG/NAME[:file] of a model hub. */
export interface HubId {
  /** "ORG/NAME" */
  readonly repo: string;
  /** A file's path in the repository, or the end of a GGUF's name ("Q4_K_M"); undefined: the whole checkpoint. */
  readonly file: string | undefined;
}

/** The hub's own limits: 96 characters a part; no leading or trailing dot or dash, no "--", which the cache's names use. */
const PART = /^(?!.*(--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;
const MAX_FILE_CHARS = 512;
/** Of each part of a path: file systems take 255, and a partial file's name is a little longer. */
const MAX_PART_BYTES = 230;

/** Undefined where the text is not a hub id (a path, for one). */
export function parseHubId(text: string): HubId | undefined {
  const colon = text.indexOf(":");
  const repo = colon < 0 ? text : text.slice(0, colon);
  const file = colon < 0 ? undefined : text.slice(colon + 1);
  const parts = repo.split("/");
  if (parts.length !== 2 || !parts.every((part) => PART.test(part))) return undefined;
  if (file !== undefined && (file === "" || !isSafeRepoPath(file))) return undefined;
  return { repo, file };
}

export function requireHubId(text: string): HubId {
  const id = parseHubId(text);
  if (id === undefined) {
    throw new ServeError(
      "invalid_argument",
      `${reflected(JSON.stringify(text))} is not a hub id; write ORG/NAME or ORG/NAME:file`,
    );
  }
  return id;
}

/** A repository's path comes from the hub, is joined onto the cache folder, where it must stay, and is printed. */
export function isSafeRepoPath(path: string): boolean {
  if (path.length > MAX_FILE_CHARS || /[\\\p{Cc}\p{Cf}]/u.test(path)) return false;
  const isSafePart = (part: string) =>
    part !== "" && part !== "." && part !== ".." && Buffer.byteLength(part) <= MAX_PART_BYTES;
  return path.split("/").every(isSafePart);
}

/** Branches, tags, commits and refs/pr/N; becomes a file name under refs/. */
export function requireRevision(revision: string): string {
  if (!/^[A-Za-z0-9._/-]{1,256}$/.test(revision) || !isSafeRepoPath(revision)) {
    throw new ServeError("invalid_argument", `${reflected(JSON.stringify(revision))} is not a revision`);
  }
  return revision;
}
