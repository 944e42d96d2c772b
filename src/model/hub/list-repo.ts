import { ServeError } from "../../core/errors.ts";
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
const METADATA_TIMEOUT_MS = 30_000;

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
      if (entry.type !== "file") continue;
      if (files.length >= MAX_FILES) throw badAnswer(access, `lists more than ${MAX_FILES} files`);
      if (!isSafeRepoPath(entry.path)) throw badAnswer(access, `lists the path ${JSON.stringify(entry.path)}`);
      files.push({ path: entry.path, sizeBytes: entry.lfs?.size ?? entry.size, digest: digestOf(access, entry) });
    }
    return { commit: sha, files };
  } catch (error) {
    if (error instanceof ServeError) throw error;
    if (access.signal?.aborted) throw cancelled(repo);
    if (error instanceof HubApiError) throw statusError(error.statusCode, what, access);
    throw new ServeError("unavailable", `${access.endpoint} cannot be reached: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function digestOf(access: HubAccess, entry: { path: string; oid?: string; lfs?: { oid: string } }): RepoFile["digest"] {
  const { lfs, oid } = entry;
  if (lfs !== undefined && /^[0-9a-f]{64}$/.test(lfs.oid)) return { kind: "sha256", hex: lfs.oid };
  if (lfs === undefined && oid !== undefined && /^[0-9a-f]{40}$/.test(oid)) return { kind: "git-sha1", hex: oid };
  throw badAnswer(access, `lists no usable hash for ${entry.path}`);
}

function badAnswer(access: HubAccess, problem: string): ServeError {
  return new ServeError("unavailable", `The answer of ${access.endpoint} is not usable: it ${problem}`);
}

/** fetch for @huggingface/hub: our token handling, a deadline, a size bound, retries. */
function metadataFetch(access: HubAccess, what: string): typeof fetch {
  const attempt = async (url: string, init: RequestInit | undefined): Promise<Response> => {
    const deadline = AbortSignal.timeout(METADATA_TIMEOUT_MS);
    const signal = access.signal === undefined ? deadline : AbortSignal.any([access.signal, deadline]);
    const response = await hubGet(access, url, { ...init, signal });
    return new Response(await readBounded(access, response), { status: response.status, headers: response.headers });
  };
  const withRetries = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = String(input instanceof Request ? input.url : input);
    for (let tries = 1; ; tries++) {
      try {
        const response = await attempt(url, init);
        if (!isTransient(response.status) || tries >= MAX_ATTEMPTS) return response;
      } catch (error) {
        if (access.signal?.aborted) throw cancelled(what);
        if (error instanceof ServeError || tries >= MAX_ATTEMPTS) throw error;
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
