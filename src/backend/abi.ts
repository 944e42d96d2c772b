/**
 * The C ABI of kernels/include/scalellm.h as data: enum values by position in a list of names, struct layouts. A test
 * compares them with what the library describes of itself.
 */
import { structLayout } from "./struct-layout.ts";

export const ABI_VERSION = 1;

/** SL_ERR_* statuses. */
export const STATUS = { argument: -1, memory: -2, io: -3, unsupported: -4, device: -5, state: -6 } as const;

/** index = SL_WEIGHTS_* */
export const WEIGHT_FORMATS = ["auto", "float32", "bfloat16", "int8"] as const;
export type WeightFormat = (typeof WEIGHT_FORMATS)[number];

/** index = SL_KV_* */
export const KV_DTYPES = ["float32", "float16", "bfloat16", "int8", "fp8"] as const;
export type KvDtype = (typeof KV_DTYPES)[number];

/** index = SL_ISA_* */
export const ISAS = ["auto", "portable", "avx2", "avx512", "neon", "amx"] as const;
export type Isa = (typeof ISAS)[number];

/** index = SL_SCALE_* */
export const SCALE_KINDS = ["none", "tensor", "row", "block"] as const;

export const FLAG_QK_NORM = 1;
export const FLAG_NORM_TOPK_PROB = 2;

/** index = SL_STAGE_* */
export const STAGES = [
  "embed",
  "norm",
  "qkv",
  "rope_kv",
  "attention",
  "o",
  "gate_up",
  "down",
  "moe_route",
  "lm_head",
  "sample",
  "other",
] as const;

/** index = log2 of SL_CPU_* */
export const CPU_FEATURES = [
  "avx2",
  "fma",
  "f16c",
  "avx512",
  "avx512_vnni",
  "avx512_bf16",
  "amx_int8",
  "neon",
  "neon_dotprod",
] as const;

export const SL_TENSOR = structLayout([
  ["role", "i32"],
  ["layer", "i32"],
  ["expert", "i32"],
  ["dtype", "i32"],
  ["rows", "i64"],
  ["cols", "i64"],
  ["offset", "i64"],
  ["num_bytes", "i64"],
  ["file", "i32"],
  ["rope_heads", "i32"],
  ["scale_kind", "i32"],
  ["scale_dtype", "i32"],
  ["scale_offset", "i64"],
  ["scale_num_bytes", "i64"],
  ["scale_file", "i32"],
  ["scale_block_rows", "i32"],
  ["scale_block_cols", "i32"],
  ["reserved", "i32"],
]);

export const SL_MODEL_DESC = structLayout([
  ["struct_bytes", "u32"],
  ["flags", "u32"],
  ["num_layers", "i32"],
  ["hidden_size", "i32"],
  ["num_heads", "i32"],
  ["num_kv_heads", "i32"],
  ["head_dim", "i32"],
  ["intermediate_size", "i32"],
  ["vocab_size", "i32"],
  ["max_positions", "i32"],
  ["num_experts", "i32"],
  ["experts_per_token", "i32"],
  ["moe_intermediate_size", "i32"],
  ["rms_norm_eps", "f32"],
  ["rope_attention_factor", "f32"],
  ["weight_format", "i32"],
  ["isa", "i32"],
  ["num_threads", "i32"],
  ["num_tensors", "i32"],
  ["num_paths", "i32"],
  ["rope_inv_freq", "ptr"],
  ["layer_window", "ptr"],
  ["tensors", "ptr"],
  ["paths", "ptr"],
]);

export const SL_MODEL_INFO = structLayout([
  ["weight_bytes", "i64"],
  ["file_bytes", "i64"],
  ["num_parameters", "i64"],
  ["isa", "i32"],
  ["reserved", "i32"],
]);

export const SL_ENGINE_CONFIG = structLayout([
  ["struct_bytes", "u32"],
  ["num_threads", "i32"],
  ["block_size", "i32"],
  ["num_blocks", "i32"],
  ["kv_dtype", "i32"],
  ["max_num_seqs", "i32"],
  ["max_batched_tokens", "i32"],
  ["max_logit_rows", "i32"],
  ["max_model_len", "i32"],
  ["reserved", "i32"],
]);

export const SL_ENGINE_INFO = structLayout([
  ["kv_bytes", "i64"],
  ["kv_block_bytes", "i64"],
  ["workspace_bytes", "i64"],
  ["epoch", "i32"],
  ["reserved", "i32"],
]);

export const SL_SLOT_PARAMS = structLayout([
  ["struct_bytes", "u32"],
  ["top_k", "i32"],
  ["temperature", "f32"],
  ["top_p", "f32"],
  ["min_p", "f32"],
  ["repetition_penalty", "f32"],
  ["frequency_penalty", "f32"],
  ["presence_penalty", "f32"],
  ["seed", "u64"],
  ["num_prompt_tokens", "i32"],
  ["num_output_tokens", "i32"],
  ["num_logit_bias", "i32"],
  ["min_tokens", "i32"],
  ["num_stop_ids", "i32"],
  ["reserved", "i32"],
  ["prompt_tokens", "ptr"],
  ["output_tokens", "ptr"],
  ["logit_bias_ids", "ptr"],
  ["logit_bias_values", "ptr"],
  ["stop_ids", "ptr"],
]);

export const SL_PROFILE = structLayout([
  ["steps", "u64"],
  ["tokens", "u64"],
  ["step_ns", "u64"],
  ["idle_ns", "u64"],
  ["stage_ns", "u64", STAGES.length],
  ["stage_bytes", "u64", STAGES.length],
  ["stage_ops", "u64", STAGES.length],
]);

export const SL_PROBE_INFO = structLayout([
  ["best_isa", "i32"],
  ["num_cores", "i32"],
  ["features", "i64"],
  ["total_memory", "i64"],
  ["available_memory", "i64"],
  ["cpu_quota", "f64"],
  ["cpu_name", "char", 64],
  ["memory_limit", "char", 256],
  ["cpu_limit", "char", 256],
  ["device_names", "char", 256],
]);

export const SL_LIMITS = structLayout([
  ["read_bytes_per_s", "f64"],
  ["int8_macs_per_s", "f64"],
  ["f32_macs_per_s", "f64"],
]);

/** By their C names. */
export const STRUCTS = {
  sl_tensor: SL_TENSOR,
  sl_model_desc: SL_MODEL_DESC,
  sl_model_info: SL_MODEL_INFO,
  sl_engine_config: SL_ENGINE_CONFIG,
  sl_engine_info: SL_ENGINE_INFO,
  sl_slot_params: SL_SLOT_PARAMS,
  sl_profile: SL_PROFILE,
  sl_probe_info: SL_PROBE_INFO,
  sl_limits: SL_LIMITS,
} as const;

/** Number of a name in one of the lists above. */
export function enumValue<Name extends string>(names: readonly Name[], name: Name): number {
  const value = names.indexOf(name);
  if (value < 0) throw new RangeError(`${name} is none of ${names.join(", ")}`);
  return value;
}
