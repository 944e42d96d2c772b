import type { JsonFields } from "../json-fields.ts";
import { MODEL_BOUNDS } from "../model-bounds.ts";
import { type RopeConfig, type RopeScaling, yarnAttentionFactor } from "../rope.ts";

/**
 * Reads rope settings: rope_parameters, or in older checkpoints rope_theta and rope_scaling (whose type was once called
 * `type`). extendedPositions is the context with scaling applied: yarn's factor counts from the original context.
 */
export function readRope(
  json: JsonFields,
  maxPositions: number,
  defaultTheta: number,
): { rope: RopeConfig; extendedPositions: number } {
  const parameters = json.object("rope_parameters") ?? json.object("rope_scaling");
  const theta = parameters?.number("rope_theta") ?? json.number("rope_theta") ?? defaultTheta;
  if (theta <= 1) throw json.error("rope_theta", `is ${theta}; it must be greater than 1`);
  if (parameters === undefined)
    return { rope: { theta, scaling: { kind: "default" } }, extendedPositions: maxPositions };

  const partial = parameters.number("partial_rotary_factor") ?? 1;
  if (partial !== 1) throw parameters.error("partial_rotary_factor", `is ${partial}; only whole heads are supported`);
  for (const key of parameters.keys()) {
    const value = parameters.raw(key);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      throw parameters.error(key, "is nested: rope settings that differ between layers are not supported");
    }
  }
  const type = parameters.string("rope_type") ?? parameters.string("type") ?? "default";
  const originalMaxPositions =
    parameters.int("original_max_position_embeddings", 1, MODEL_BOUNDS.maxPositions) ??
    json.int("original_max_position_embeddings", 1, MODEL_BOUNDS.maxPositions);
  const scaling = readScaling(parameters, type, originalMaxPositions ?? maxPositions, maxPositions);
  const reach = scaling.kind === "yarn" ? Math.floor(scaling.originalMaxPositions * scaling.factor) : 0;
  return {
    rope: { theta, scaling },
    extendedPositions: Math.min(MODEL_BOUNDS.maxPositions, Math.max(maxPositions, reach)),
  };
}

function readScaling(
  fields: JsonFields,
  type: string,
  originalMaxPositions: number,
  maxPositions: number,
): RopeScaling {
  const positive = (name: string, fallback?: number) => {
    const value = fields.number(name) ?? fallback;
    if (value === undefined) throw fields.error(name, "is missing");
    if (value <= 0) throw fields.error(name, `is ${value}; it must be positive`);
    return value;
  };
  switch (type) {
    case "default":
      return { kind: "default" };
    case "linear":
      return { kind: "linear", factor: positive("factor") };
    case "llama3": {
      const lowFreqFactor = positive("low_freq_factor");
      const highFreqFactor = positive("high_freq_factor");
      if (highFreqFactor <= lowFreqFactor) throw fields.error("high_freq_factor", "is not above low_freq_factor");
      return { kind: "llama3", factor: positive("factor"), lowFreqFactor, highFreqFactor, originalMaxPositions };
    }
    case "yarn": {
      const factor = positive("factor", maxPositions / originalMaxPositions);
      const mscale = fields.number("mscale");
      const attentionFactor = yarnAttentionFactor(factor, mscale, fields.number("mscale_all_dim"));
      return {
        kind: "yarn",
        factor,
        originalMaxPositions,
        betaFast: fields.number("beta_fast") || 32,
        betaSlow: fields.number("beta_slow") || 1,
        truncate: fields.bool("truncate") ?? true,
        attentionFactor: positive("attention_factor", attentionFactor),
      };
    }
    default:
      throw fields.error("rope_type", `is ${type}; supported are default, linear, llama3, yarn`);
  }
}
