import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { FileRange } from "./embedded-file.ts";
import { FileSource } from "./file-source.ts";
import { openGguf } from "./gguf/open-gguf.ts";
import { isGguf } from "./gguf/read-gguf.ts";
import { openFolder } from "./huggingface/open-folder.ts";
import { ModelError } from "./model-error.ts";
import type { OpenedModel } from "./spec.ts";

/**
 * Opens a checkpoint and checks everything that its headers say: a GGUF file (any part of a split one), a GGUF embedded
 * in another file, or a Hugging Face folder. No weights are read. Throws ModelError, which names file and field.
 */
export function openModel(place: string | FileRange): OpenedModel {
  if (typeof place !== "string") return openGguf(place);
  const path = resolve(place);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ModelError(path, undefined, "does not exist");
  if (stat.isDirectory()) return openDirectory(path);
  if (fileIsGguf(path)) return openGguf(path);
  const hint = path.endsWith(".safetensors") ? "; give the folder that holds it, with its config.json" : "";
  throw new ModelError(path, undefined, `is neither a GGUF file nor a model folder${hint}`);
}

function openDirectory(folder: string): OpenedModel {
  const names = readdirSync(folder);
  if (names.includes("config.json") && names.some((name) => name.endsWith(".safetensors"))) return openFolder(folder);
  const ggufs = names.filter((name) => name.endsWith(".gguf") && !isLaterPart(name));
  if (ggufs.length === 1) return openGguf(join(folder, ggufs[0]!));
  if (ggufs.length > 1) {
    throw new ModelError(folder, undefined, `holds several GGUF files; name one of ${ggufs.sort().join(", ")}`);
  }
  const missing = names.includes("config.json") ? "safetensors weights" : "config.json";
  throw new ModelError(folder, undefined, `holds no ${missing}; a model folder has config.json and *.safetensors`);
}

function isLaterPart(name: string): boolean {
  const match = /-(\d{5})-of-\d{5}\.gguf$/.exec(name);
  return match !== null && Number(match[1]) > 1;
}

function fileIsGguf(path: string): boolean {
  const source = new FileSource(path);
  try {
    return isGguf(source);
  } finally {
    source.close();
  }
}
