// The ABI's structs as JSON, computed by the compiler, for the comparison with src/backend/abi.ts.
#include <cstddef>
#include <string>

#include "common/api.h"

namespace {

void append_key(std::string* out, const char* name) {
  if (out->back() != '{') out->push_back(',');
  out->append("\"").append(name).append("\":");
}

struct Field {
  const char* name;
  size_t offset, size;
};

void append_struct(std::string* out, const char* name, size_t size, std::initializer_list<Field> fields) {
  append_key(out, name);
  out->append("{\"size\":").append(std::to_string(size)).append(",\"fields\":{");
  for (const Field& f : fields) {
    append_key(out, f.name);
    out->append("[").append(std::to_string(f.offset)).append(",").append(std::to_string(f.size)).append("]");
  }
  out->append("}}");
}

std::string describe() {
  std::string out;
  out.append("{\"version\":").append(std::to_string(SL_ABI_VERSION)).append(",\"structs\":{");
#define F(name) Field{#name, offsetof(S, name), sizeof(S::name)}
#define STRUCT(type, ...)                                 \
  {                                                       \
    using S = type;                                       \
    append_struct(&out, #type, sizeof(S), {__VA_ARGS__}); \
  }
  STRUCT(sl_tensor, F(role), F(layer), F(expert), F(dtype), F(rows), F(cols), F(offset), F(num_bytes), F(file),
         F(rope_heads), F(scale_kind), F(scale_dtype), F(scale_offset), F(scale_num_bytes), F(scale_file),
         F(scale_block_rows), F(scale_block_cols), F(reserved))
  STRUCT(sl_model_desc, F(struct_bytes), F(flags), F(num_layers), F(hidden_size), F(num_heads), F(num_kv_heads),
         F(head_dim), F(intermediate_size), F(vocab_size), F(max_positions), F(num_experts), F(experts_per_token),
         F(moe_intermediate_size), F(rms_norm_eps), F(rope_attention_factor), F(weight_format), F(isa), F(num_threads),
         F(num_tensors), F(num_paths), F(rope_inv_freq), F(layer_window), F(tensors), F(paths))
  STRUCT(sl_model_info, F(weight_bytes), F(file_bytes), F(num_parameters), F(isa), F(reserved))
  STRUCT(sl_engine_config, F(struct_bytes), F(num_threads), F(block_size), F(num_blocks), F(kv_dtype), F(max_num_seqs),
         F(max_batched_tokens), F(max_logit_rows), F(max_model_len), F(reserved))
  STRUCT(sl_engine_info, F(kv_bytes), F(kv_block_bytes), F(workspace_bytes), F(epoch), F(reserved))
  STRUCT(sl_slot_params, F(struct_bytes), F(top_k), F(temperature), F(top_p), F(min_p), F(repetition_penalty),
         F(frequency_penalty), F(presence_penalty), F(seed), F(num_prompt_tokens), F(num_output_tokens),
         F(num_logit_bias), F(min_tokens), F(num_stop_ids), F(reserved), F(prompt_tokens), F(output_tokens),
         F(logit_bias_ids), F(logit_bias_values), F(stop_ids))
  STRUCT(sl_profile, F(steps), F(tokens), F(step_ns), F(idle_ns), F(stage_ns), F(stage_bytes), F(stage_ops))
  STRUCT(sl_probe_info, F(best_isa), F(num_cores), F(features), F(total_memory), F(available_memory), F(cpu_quota),
         F(cpu_name), F(memory_limit), F(cpu_limit), F(device_names))
  STRUCT(sl_limits, F(read_bytes_per_s), F(int8_macs_per_s), F(f32_macs_per_s))
  STRUCT(sl_op_linear_args, F(isa), F(num_threads), F(dtype), F(weight_format), F(tokens), F(rows), F(cols), F(w), F(x),
         F(y))
  STRUCT(sl_op_rms_norm_args, F(isa), F(tokens), F(cols), F(eps), F(x), F(w), F(y))
  STRUCT(sl_op_rope_args, F(isa), F(tokens), F(num_heads), F(head_dim), F(attention_factor), F(reserved), F(inv_freq),
         F(positions), F(x))
  STRUCT(sl_op_attention_args, F(isa), F(num_threads), F(num_heads), F(num_kv_heads), F(head_dim), F(query_len),
         F(context_len), F(window), F(kv_dtype), F(block_size), F(q), F(k), F(v), F(block_table), F(out))
  STRUCT(sl_op_silu_mul_args, F(isa), F(tokens), F(cols), F(reserved), F(gate), F(up), F(y))
  STRUCT(sl_op_sample_args, F(vocab_size), F(top), F(output_position), F(reserved), F(params), F(logits), F(token_id),
         F(rank), F(logprob), F(top_ids), F(top_logprobs))
#undef STRUCT
#undef F
  return out.append("}}");
}

}  // namespace

extern "C" const char* sl_abi_describe(void) {
  static const std::string text = describe();
  return text.c_str();
}
