import { basename, join } from "node:path";
import { samplingField } from "../../core/sampling-fields.ts";
import { assembleWeights } from "../assemble-weights.ts";
import { type JsonFields, readJsonFile, readJsonFileIfAny } from "../json-fields.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { toModelSpec } from "../model-config.ts";
import { openCheckpoint } from "../safetensors/open-checkpoint.ts";
import { readSamplingDefaults } from "../sampling-defaults.ts";
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
  const { defaults, warnings } = samplingDefaults(generation);
  const stored = openCheckpoint(folder);
  const tensors = assembleWeights(modelConfig, stored, hfNaming(folder, modelConfig, stored, fp8));
  return {
    name: servedName(CACHE_FOLDER.exec(folder)?.[1] ?? basename(folder)),
    plan: { spec: toModelSpec(modelConfig), paths: stored.paths, tensors },
    text: readText(folder, config, generation),
    generationDefaults: defaults,
    warnings,
    fileBytes: weightBytes(tensors),
    quantization: describeQuantization(tensors),
  };
}

function samplingDefaults(fields: JsonFields) {
  return readSamplingDefaults(fields.file, (field) => {
    const { name } = samplingField(field);
    return { name, value: fields.raw(name) };
  });
}
