import { existsSync, readdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import bundledModel from "../../models/SmolLM2-135M-Instruct.Q4_1.gguf" with { type: "file" };
import { hubEnvironment } from "../config/environment.ts";
import { locateEmbeddedFile } from "../model/embedded-file.ts";
import { resolveCached } from "../model/hub/cache-layout.ts";
import { parseHubId } from "../model/hub/hub-id.ts";
import { openModel } from "../model/open-model.ts";
import type { OpenedModel } from "../model/spec.ts";
import { CliError } from "./command.ts";
import { pullWithProgress } from "./pull-with-progress.ts";

/** The file's own metadata names a training run. */
const BUNDLED_NAME = "smollm2-135m-instruct";

/** GGUF files named where the one asked for is missing. */
const MAX_LISTED_FILES = 5;

/**
 * Opens what a person named: nothing or its own name (the bundled model), a GGUF file or folder, or a hub id, which is
 * pulled if it is not in the cache. What lies on disk comes first. Throws CliError or ModelError.
 */
export async function resolveModel(model: string, revision: string): Promise<OpenedModel> {
  if (model === "") return openBundled();
  if (existsSync(model)) return openModel(model);
  if (model.toLowerCase() === BUNDLED_NAME) return openBundled();
  const id = parseHubId(model);
  if (id === undefined || /^[./~]|\.gguf$/i.test(model)) throw new CliError(missingModel(model));
  const cached = resolveCached(id, { cacheDir: hubEnvironment().cacheDir, revision });
  return openModel(cached ?? (await pullWithProgress(model, revision)).path);
}

async function openBundled(): Promise<OpenedModel> {
  return { ...openModel(await locateEmbeddedFile(bundledModel)), name: BUNDLED_NAME };
}

/** What was looked for, and what may have been meant. */
function missingModel(model: string): string {
  const path = resolve(model);
  const isPath = model.includes("/") || model.toLowerCase().endsWith(".gguf");
  if (!isPath) {
    return `there is no model '${model}': no file or folder ${path}, no hub id (ORG/NAME or ORG/NAME:FILE), and not the bundled model, ${BUNDLED_NAME}`;
  }
  const beside = ggufFilesIn(dirname(path));
  const hint = beside.length === 0 ? "" : `; that folder holds ${beside.join(", ")}`;
  return `there is no model '${model}': no file or folder ${path}${hint}`;
}

function ggufFilesIn(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => name.toLowerCase().endsWith(".gguf"));
    return names.sort().slice(0, MAX_LISTED_FILES);
  } catch {
    // It is missing, too, or not to be read: then there is nothing to suggest.
    return [];
  }
}
