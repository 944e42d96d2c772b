import { ServeError } from "../../core/errors.ts";
import { failureReason } from "../../core/failure-reason.ts";
import { reflected } from "../../core/reflected.ts";
import { backOff, cancelled, type HubAccess, hubGet, isTransient, MAX_ATTEMPTS, statusError } from "./hub-fetch.ts";
import { isSafeRepoPath } from "./hub-id.ts";

export interface RepoFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Name of its blob in the cache, and what its content must hash to. */
  readonly digest: { readonly kind: "sha256" | "git-sha1"; readonly hex: string };
}

export interface RepoListing {
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly files: readonly RepoFile[];
}

/** The largest model repositories list a few hundred files. */
const MAX_FILES = 20_000;
/** One page of a listing holds 1000 entries of about 300 bytes. */
const MAX_METADATA_BYTES = 16 * 1024 * 1024;
/** A page has 1000 entries; a mirror's may be far smaller. Each names the next, without end if it likes. */
const MAX_PAGES = 1000;
const METADATA_TIMEOUT_MS = 30_000;
/** A hub that has not answered its first question by then is out of reach. */
const FIRST_ANSWER_TIMEOUT_MS = 10_000;

/** Asks the hub which commit a revision is and what files it has. Throws ServeError. */
export async function listRepo(access: HubAccess, repo: string, revision: string): Promise<RepoListing> {
  const what = `${repo} at ${revision}`;
  // Loaded when something is pulled: it takes 20 to 40 ms, which every start would pay.
  const { HubApiError, listFiles, modelInfo } = await import("@huggingface/hub");
  const common = { hubUrl: access.endpoint, fetch: metadataFetch(access, what) };
  try {
    const { sha } = await modelInfo({ name: repo, revision, additionalFields: ["sha"], ...common });
    if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha)) throw badAnswer(access, "names no commit");
    const files: RepoFile[] = [];
    for await (const entry of listFiles({
      repo: { type: "model", name: repo },
      revision: sha,
      recursive: true,
      ...common,
    })) {
      const file = readEntry(access, entry);
      if (file === undefined) continue;
      if (files.length >= MAX_FILES) throw badAnswer(access, `lists more than ${MAX_FILES} files`);
      files.push(file);
    }
    return { commit: sha, files };
  } catch (error) {
    if (error instanceof ServeError) throw error;
    if (access.signal?.aborted) throw cancelled(repo);
    if (error instanceof HubApiError) throw statusError(error.statusCode, what, access);
    // The library reads what came as if it had its usual form.
    throw badAnswer(access, "is no listing of a repository", error);
  }
}

/** A file of a listing; undefined for a folder. The registry may send anything. */
function readEntry(access: HubAccess, entry: unknown): RepoFile | undefined {
  if (!isObject(entry)) throw badAnswer(access, "lists what is neither a file nor a folder");
  if (entry.type !== "file") return undefined;
  const { path, lfs, oid } = entry;
  if (typeof path !== "string" || !isSafeRepoPath(path)) {
    throw badAnswer(access, `lists the path ${reflected(JSON.stringify(path) ?? "undefined")}`);
  }
  if (lfs !== undefined && !isObject(lfs)) throw badAnswer(access, `lists no usable hash for ${path}`);
  const sizeBytes = lfs?.size ?? entry.size;
  // A size as text would never be the size of what came.
  if (!Number.isSafeInteger(sizeBytes) || (sizeBytes as number) < 0) {
    throw badAnswer(access, `lists no usable size for ${path}: ${reflected(JSON.stringify(sizeBytes) ?? "none")}`);
  }
  const digest = lfs === undefined ? hashOf("git-sha1", oid, 40) : hashOf("sha256", lfs.oid, 64);
  if (digest === undefined) throw badAnswer(access, `lists no usable hash for ${path}`);
  return { path, sizeBytes: sizeBytes as number, digest };
}

function hashOf(kind: RepoFile["digest"]["kind"], hex: unknown, digits: number): RepoFile["digest"] | undefined {
  return typeof hex === "string" && hex.length === digits && /^[0-9a-f]+$/.test(hex) ? { kind, hex } : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function badAnswer(access: HubAccess, problem: string, cause?: unknown): ServeError {
  return new ServeError("unavailable", `The answer of ${access.endpoint} is not usable: it ${problem}`, { cause });
}

/** fetch for @huggingface/hub: our token handling, a deadline, bounds on size and number, retries. Throws ServeError. */
function metadataFetch(access: HubAccess, what: string): typeof fetch {
  let pages = 0;
  let hasAnswered = false;
  const attempt = async (url: string, init: RequestInit | undefined): Promise<Response> => {
    const deadline = AbortSignal.timeout(
      hasAnswered ? METADATA_TIMEOUT_MS : (access.stallMs ?? FIRST_ANSWER_TIMEOUT_MS),
    );
    const signal = access.signal === undefined ? deadline : AbortSignal.any([access.signal, deadline]);
    const response = await hubGet(access, url, { ...init, signal });
    return new Response(await readBounded(access, response), { status: response.status, headers: response.headers });
  };
  const withRetries = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = String(input instanceof Request ? input.url : input);
    if (++pages > MAX_PAGES) throw badAnswer(access, `has more than ${MAX_PAGES} pages`);
    for (let tries = 1; ; tries++) {
      try {
        const response = await attempt(url, init);
        hasAnswered = true;
        if (!isTransient(response.status) || tries >= MAX_ATTEMPTS) return response;
      } catch (error) {
        if (access.signal?.aborted) throw cancelled(what);
        if (error instanceof ServeError) throw error;
        // A first question without an answer: a wrong address, no network, a firewall. Asking again would not help.
        if (!hasAnswered || tries >= MAX_ATTEMPTS) {
          const reason = failureReason(error);
          throw new ServeError("unavailable", `${access.endpoint} cannot be reached: ${reason}`, { cause: error });
        }
      }
      await backOff(access, tries, what);
    }
  };
  return withRetries as typeof fetch;
}

async function readBounded(access: HubAccess, response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of response.body ?? []) {
    total += chunk.length;
    if (total > MAX_METADATA_BYTES) throw badAnswer(access, `is longer than ${MAX_METADATA_BYTES} bytes`);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}
