import type { WeightNaming } from "../assemble-weights.ts";
import type { ExpectedWeight } from "../expected-weights.ts";
import type { ModelConfig } from "../model-config.ts";
import type { WeightRole } from "../spec.ts";
import type { StoredTensors } from "../stored-tensor.ts";
import { findScale } from "./find-scale.ts";
import type { Fp8Config } from "./read-quantization.ts";

const GLOBAL: Partial<Record<WeightRole, string>> = {
  embed: "model.embed_tokens.weight",
  final_norm: "model.norm.weight",
  lm_head: "lm_head.weight",
};
const IN_LAYER: Partial<Record<WeightRole, string>> = {
  attn_norm: "input_layernorm.weight",
  ffn_norm: "post_attention_layernorm.weight",
  q: "self_attn.q_proj.weight",
  k: "self_attn.k_proj.weight",
  v: "self_attn.v_proj.weight",
  o: "self_attn.o_proj.weight",
  q_bias: "self_attn.q_proj.bias",
  k_bias: "self_attn.k_proj.bias",
  v_bias: "self_attn.v_proj.bias",
  o_bias: "self_attn.o_proj.bias",
  q_norm: "self_attn.q_norm.weight",
  k_norm: "self_attn.k_norm.weight",
  gate: "mlp.gate_proj.weight",
  up: "mlp.up_proj.weight",
  down: "mlp.down_proj.weight",
};

/**
 * Leftovers that cannot change a result here: rotary frequencies (computed), scales of activations (they stay in higher
 * precision on this path) and of fp8 KV caches.
 */
const IGNORABLE = /(\.rotary_emb\.inv_freq|\.(input|k|v|q|prob|output)_scale|\.input_scale_ub|\.kv_scale)$/;

/** Tensor names of Hugging Face checkpoints. */
export function hfNaming(
  folder: string,
  config: ModelConfig,
  stored: StoredTensors,
  fp8: Fp8Config | undefined,
): WeightNaming {
  return {
    file: folder,
    names: (weight) => [nameOf(weight, config)],
    stacked: () => undefined,
    ropeHeads: () => 0,
    scale: (tensor, weight, used) => findScale(stored, tensor, weight, fp8, used),
    // Tied checkpoints may keep a copy of the head; transformers does not read it either.
    ignorable: (name) => IGNORABLE.test(name) || (config.tiedEmbeddings && name === "lm_head.weight"),
  };
}

function nameOf({ role, layer, expert }: ExpectedWeight, { architecture }: ModelConfig): string {
  if (layer < 0) return GLOBAL[role]!;
  const prefix = `model.layers.${layer}`;
  const { experts } = architecture;
  switch (role) {
    case "router":
      return `${prefix}.${experts!.block}.gate.weight`;
    case "expert_gate":
      return `${prefix}.${experts!.block}.experts.${expert}.${experts!.gate}.weight`;
    case "expert_up":
      return `${prefix}.${experts!.block}.experts.${expert}.${experts!.up}.weight`;
    case "expert_down":
      return `${prefix}.${experts!.block}.experts.${expert}.${experts!.down}.weight`;
    default:
      return `${prefix}.${IN_LAYER[role]!}`;
  }
}
