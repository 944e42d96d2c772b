import { ServeError } from "../../core/errors.ts";
import type { HubId } from "./hub-id.ts";

/** What of a repository makes a model that can be opened. */
export interface ChosenFiles {
  readonly paths: readonly string[];
  /** The file to open; undefined: the folder. */
  readonly main: string | undefined;
}

const PART = /-(\d{5})-of-(\d{5})\.gguf$/;
const WEIGHTS = /^model(-\d{5}-of-\d{5})?\.safetensors$/;
const BESIDE_WEIGHTS = /^([^/]+\.(json|jinja)|additional_chat_templates\/[^/]+\.jinja)$/;

/**
 * Chooses from a repository's files: the GGUF that `id.file` names, by path or by the end of its name, with all its
 * parts; otherwise the safetensors with their JSON files and templates; otherwise the only GGUF.
 * Throws ServeError, which lists what there is.
 */
export function chooseFiles(id: HubId, files: readonly string[]): ChosenFiles {
  const ggufs = files.filter((path) => path.endsWith(".gguf"));
  if (id.file !== undefined) return chooseGguf(id.repo, id.file, files, ggufs);
  const weights = files.filter((path) => WEIGHTS.test(path));
  if (weights.length > 0) {
    if (!files.includes("config.json")) throw notFound(`${id.repo} has safetensors but no config.json`);
    return { paths: [...files.filter((path) => BESIDE_WEIGHTS.test(path)), ...weights], main: undefined };
  }
  const firstParts = ggufs.filter(isFirstPart);
  if (firstParts.length === 1) return withParts(firstParts[0]!, ggufs);
  if (firstParts.length > 1) {
    throw notFound(`${id.repo} has several GGUF files; name one, as in ${id.repo}:Q4_K_M. It has ${list(firstParts)}`);
  }
  throw notFound(`${id.repo} has neither safetensors weights nor GGUF files; other formats are not read`);
}

function chooseGguf(repo: string, wanted: string, files: readonly string[], ggufs: readonly string[]): ChosenFiles {
  if (files.includes(wanted)) {
    if (!wanted.endsWith(".gguf")) throw notFound(`${repo}:${wanted} is not a GGUF file`);
    return withParts(wanted, ggufs);
  }
  const matches = ggufs.filter((path) => isFirstPart(path) && endsWithTag(path, wanted));
  if (matches.length === 1) return withParts(matches[0]!, ggufs);
  const found = list(ggufs.filter(isFirstPart));
  if (matches.length > 1) throw notFound(`${repo} has several files that match ${wanted}: ${list(matches)}`);
  throw notFound(`${repo} has no GGUF file ${wanted}${found === "" ? "" : `; it has ${found}`}`);
}

function isFirstPart(path: string): boolean {
  const part = PART.exec(path);
  return part === null || Number(part[1]) === 1;
}

/** "Q4_K_M" matches NAME-Q4_K_M.gguf and NAME.q4_k_m-00001-of-00003.gguf, but "K_M" does not. */
function endsWithTag(path: string, tag: string): boolean {
  const stem = path.replace(PART, ".gguf").slice(0, -".gguf".length).toLowerCase();
  const wanted = tag.toLowerCase();
  return stem === wanted || ["-", ".", "/"].some((separator) => stem.endsWith(separator + wanted));
}

function withParts(path: string, ggufs: readonly string[]): ChosenFiles {
  const part = PART.exec(path);
  if (part === null) return { paths: [path], main: path };
  const stem = path.slice(0, part.index);
  const total = Number(part[2]);
  const paths = ggufs
    .filter(
      (other) =>
        other.startsWith(stem) && PART.exec(other)?.index === stem.length && other.endsWith(`-of-${part[2]}.gguf`),
    )
    .sort();
  if (paths.length !== total) throw notFound(`${stem} has ${paths.length} of its ${total} parts`);
  return { paths, main: paths[0] };
}

/** At most this many names in a message; quantised repositories have about 25. */
const MAX_LISTED = 40;

function list(paths: readonly string[]): string {
  const more = paths.length > MAX_LISTED ? ` and ${paths.length - MAX_LISTED} more` : "";
  return [...paths].sort().slice(0, MAX_LISTED).join(", ") + more;
}

function notFound(message: string): ServeError {
  return new ServeError("not_found", message);
}
