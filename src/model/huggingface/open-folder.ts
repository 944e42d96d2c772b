import { basename, join } from "node:path";
import { assembleWeights } from "../assemble-weights.ts";
import { type JsonFields, readJsonFile, readJsonFileIfAny } from "../json-fields.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { toModelSpec } from "../model-config.ts";
import { openCheckpoint } from "../safetensors/open-checkpoint.ts";
import { servedName } from "../served-name.ts";
import type { OpenedModel } from "../spec.ts";
import { describeQuantization, weightBytes } from "../weight-totals.ts";
import { hfNaming } from "./hf-naming.ts";
import { readConfig } from "./read-config.ts";
import { readQuantization } from "./read-quantization.ts";
import { readText } from "./read-text.ts";

/** models--ORG--NAME/snapshots/COMMIT, the layout of the Hugging Face cache. */
const CACHE_FOLDER = /models--.*--([^/]+)\/snapshots\/[^/]+\/?$/;

/** Opens and checks a Hugging Face folder; reads headers only. Throws ModelError. */
export function openFolder(folder: string): OpenedModel {
  const config = readJsonFile(join(folder, "config.json"), MODEL_BOUNDS.maxConfigBytes);
  const generation = readJsonFileIfAny(join(folder, "generation_config.json"), MODEL_BOUNDS.maxConfigBytes);
  const modelConfig = readConfig(config);
  const fp8 = readQuantization(config);
  const stored = openCheckpoint(folder);
  const tensors = assembleWeights(modelConfig, stored, hfNaming(folder, modelConfig, stored, fp8));
  return {
    name: servedName(CACHE_FOLDER.exec(folder)?.[1] ?? basename(folder)),
    plan: { spec: toModelSpec(modelConfig), paths: stored.paths, tensors },
    text: readText(folder, config, generation),
    generationDefaults: generationDefaults(generation),
    fileBytes: weightBytes(tensors),
    quantization: describeQuantization(tensors),
  };
}

function generationDefaults(fields: JsonFields): OpenedModel["generationDefaults"] {
  const found: Record<string, number> = {};
  const take = (name: string, field: string, allowed: (value: number) => boolean) => {
    const value = fields.number(field);
    if (value === undefined) return;
    if (!allowed(value)) throw fields.error(field, `is ${value}, which is out of range`);
    found[name] = value;
  };
  take("temperature", "temperature", (value) => value >= 0);
  take("topP", "top_p", (value) => value > 0 && value <= 1);
  take("topK", "top_k", (value) => Number.isInteger(value) && value >= 0);
  take("minP", "min_p", (value) => value >= 0 && value <= 1);
  take("repetitionPenalty", "repetition_penalty", (value) => value > 0);
  return found;
}
