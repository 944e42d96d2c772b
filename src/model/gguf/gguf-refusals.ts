import type { Metadata } from "./metadata.ts";

/** Keys that change the arithmetic in ways the forward pass does not have, with the values that change nothing. */
const NEUTRAL_VALUES: ReadonlyArray<readonly [string, ReadonlyArray<number | boolean | string>]> = [
  ["attn_logit_softcapping", [0]],
  ["final_logit_softcapping", [0]],
  ["logit_scale", [0, 1]],
  ["residual_scale", [0, 1]],
  ["embedding_scale", [0, 1]],
  ["attention.scale", [0]],
  ["attention.clamp_kqv", [0]],
  ["attention.max_alibi_bias", [0]],
  ["attention.causal", [true]],
  ["attention.sliding_window_pattern", []],
  ["attention.temperature_scale", [0]],
  ["use_parallel_residual", [false]],
  ["expert_shared_count", [0]],
  ["expert_shared_feed_forward_length", [0]],
  ["expert_weights_scale", [0, 1]],
  ["expert_gating_func", [0, 1]], // 1: softmax
  ["expert_group_count", [0, 1]],
  ["nextn_predict_layers", [0]],
  ["rope.scaling.yarn_log_multiplier", [0]],
  ["rope.dimension_sections", []],
];

/** Throws ModelError for a key whose feature is not supported. */
export function refuseUnsupportedKeys(metadata: Metadata, prefix: string): void {
  for (const [name, neutral] of NEUTRAL_VALUES) {
    const key = `${prefix}.${name}`;
    const value = metadata.raw(key);
    if (value === undefined || neutral.some((allowed) => allowed === value)) continue;
    throw metadata.error(key, "sets a feature that is not supported");
  }
}
