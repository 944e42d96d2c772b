import { type RopeConfig, type RopeScaling, yarnAttentionFactor } from "../rope.ts";
import type { Metadata } from "./metadata.ts";

const DEFAULT_THETA = 10_000;
const DEFAULT_BETA_FAST = 32;
const DEFAULT_BETA_SLOW = 1;

/** Reads PREFIX.rope.* and the divisors of rope_freqs.weight. Throws ModelError. */
export function readGgufRope(
  metadata: Metadata,
  prefix: string,
  maxPositions: number,
  divisors: Float32Array | undefined,
): RopeConfig {
  const key = (name: string) => `${prefix}.rope.${name}`;
  const theta = metadata.float(key("freq_base")) ?? DEFAULT_THETA;
  if (theta <= 1) throw metadata.error(key("freq_base"), `is ${theta}; it must be greater than 1`);
  const scaling = readScaling(metadata, prefix, maxPositions);
  if (divisors === undefined) return { theta, scaling };
  if (scaling.kind !== "default") {
    throw metadata.error(key("scaling.type"), `is ${scaling.kind} in a file that has rope_freqs.weight too`);
  }
  return { theta, scaling: { kind: "divisors", divisors } };
}

function readScaling(metadata: Metadata, prefix: string, maxPositions: number): RopeScaling {
  const key = (name: string) => `${prefix}.rope.scaling.${name}`;
  // Files of 2023 have only a factor, for linear scaling.
  const oldFactor = metadata.float(`${prefix}.rope.scale_linear`);
  const type = metadata.string(key("type")) ?? (oldFactor === undefined || oldFactor === 0 ? "none" : "linear");
  if (type === "none") return { kind: "default" };
  const factor = metadata.float(key("factor")) ?? oldFactor;
  if (factor === undefined || factor <= 0) throw metadata.error(key("factor"), "is missing or not positive");
  if (type === "linear") return { kind: "linear", factor };
  if (type !== "yarn") throw metadata.error(key("type"), `is ${type}; supported are none, linear, yarn`);

  const positive = (name: string, fallback: number) => {
    const value = metadata.float(key(name)) ?? fallback;
    if (value <= 0) throw metadata.error(key(name), `is ${value}; it must be positive`);
    return value;
  };
  // -1 asks llama.cpp for its default, which is what the paper has.
  const extrapolation = metadata.float(key("yarn_ext_factor")) ?? -1;
  if (extrapolation !== -1 && extrapolation !== 1) {
    throw metadata.error(key("yarn_ext_factor"), `is ${extrapolation}; only 1 is supported`);
  }
  const betaFast = positive("yarn_beta_fast", DEFAULT_BETA_FAST);
  const betaSlow = positive("yarn_beta_slow", DEFAULT_BETA_SLOW);
  return {
    kind: "yarn",
    factor,
    originalMaxPositions: metadata.int(key("original_context_length"), 1, maxPositions) ?? maxPositions,
    betaFast,
    betaSlow,
    truncate: true,
    attentionFactor: yarnAttentionFactor(factor) * positive("attn_factor", 1) * positive("yarn_attn_factor", 1),
  };
}
