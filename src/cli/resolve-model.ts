import { existsSync } from "node:fs";
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

/**
 * Opens what a person named: nothing (the bundled model), a GGUF file or folder, or a hub id, which is pulled if it is
 * not in the cache. Throws CliError or ModelError.
 */
export async function resolveModel(model: string, revision: string): Promise<OpenedModel> {
  if (model === "") return { ...openModel(await locateEmbeddedFile(bundledModel)), name: BUNDLED_NAME };
  if (existsSync(model)) return openModel(model);
  const id = parseHubId(model);
  if (id === undefined || /^[./~]|\.gguf$/.test(model)) {
    throw new CliError(`'${model}' is no file or folder here, and no hub id (ORG/NAME or ORG/NAME:FILE)`);
  }
  const cached = resolveCached(id, { cacheDir: hubEnvironment().cacheDir, revision });
  return openModel(cached ?? (await pullWithProgress(model, revision)).path);
}
