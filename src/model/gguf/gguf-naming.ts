import type { WeightNaming } from "../assemble-weights.ts";
import type { ExpectedWeight } from "../expected-weights.ts";
import type { ModelConfig } from "../model-config.ts";
import type { WeightRole } from "../spec.ts";

/** Names outside the layers, and within blk.N; experts are without their suffix. */
const GLOBAL: Partial<Record<WeightRole, string>> = {
  embed: "token_embd.weight",
  final_norm: "output_norm.weight",
  lm_head: "output.weight",
};
const IN_BLOCK: Partial<Record<WeightRole, string>> = {
  attn_norm: "attn_norm.weight",
  ffn_norm: "ffn_norm.weight",
  q: "attn_q.weight",
  k: "attn_k.weight",
  v: "attn_v.weight",
  o: "attn_output.weight",
  q_bias: "attn_q.bias",
  k_bias: "attn_k.bias",
  v_bias: "attn_v.bias",
  o_bias: "attn_output.bias",
  q_norm: "attn_q_norm.weight",
  k_norm: "attn_k_norm.weight",
  gate: "ffn_gate.weight",
  up: "ffn_up.weight",
  down: "ffn_down.weight",
  router: "ffn_gate_inp.weight",
};
const EXPERT: Partial<Record<WeightRole, string>> = {
  expert_gate: "ffn_gate",
  expert_up: "ffn_up",
  expert_down: "ffn_down",
};
export const ROPE_FREQS = "rope_freqs.weight";

/** Tensor names of GGUF: experts stacked in one tensor a layer, or (files before 2024) one tensor each. */
export function ggufNaming(file: string, config: ModelConfig): WeightNaming {
  const interleaved = config.architecture.ggufInterleavesRope;
  return {
    file,
    names: (weight) => namesOf(weight),
    stacked: (name) => (name.endsWith("_exps.weight") ? config.experts?.count : undefined),
    ropeHeads: ({ role }) => {
      if (!interleaved) return 0;
      if (role === "q" || role === "q_bias") return config.numHeads;
      return role === "k" || role === "k_bias" ? config.numKvHeads : 0;
    },
    scale: () => undefined,
    ignorable: (name) => name === ROPE_FREQS || name.endsWith(".attn_rot_embd"),
  };
}

function namesOf({ role, layer, expert }: ExpectedWeight): readonly string[] {
  if (layer < 0) return [GLOBAL[role]!];
  const matrix = EXPERT[role];
  if (matrix === undefined) return [`blk.${layer}.${IN_BLOCK[role]!}`];
  return [`blk.${layer}.${matrix}_exps.weight`, `blk.${layer}.${matrix}.${expert}.weight`];
}
