// What all backends know of a loaded model: its numbers and behaviour flags. A backend's own model adds its weights.
#pragma once
#include <cstdint>
#include <vector>

#include "scalellm.h"

namespace scalellm {

// The numbers of a checked description, whose fields say what they mean.
struct ModelNumbers {
  explicit ModelNumbers(const sl_model_desc& desc);

  uint32_t flags;  // SL_FLAG_*
  int32_t num_layers, hidden_size, num_heads, num_kv_heads, head_dim, intermediate_size;
  int32_t vocab_size, max_positions, num_experts, experts_per_token, moe_intermediate_size;
  float rms_norm_eps, rope_attention_factor;
  std::vector<float> rope_inv_freq;   // [head_dim / 2]
  std::vector<int32_t> layer_window;  // [num_layers] in tokens; 0: full attention

  int32_t q_size() const { return num_heads * head_dim; }
  int32_t kv_size() const { return num_kv_heads * head_dim; }
  int32_t qkv_size() const { return q_size() + 2 * kv_size(); }
  // The furthest that any layer sees back, in tokens; 0: some layer sees everything.
  int32_t widest_window() const;
};

// Throws SL_ERR_ARGUMENT naming the first field that is out of range. Tensors are WeightTable's to check.
void check_desc(const sl_model_desc& desc);

}  // namespace scalellm

// The handle of the ABI. Immutable after loading, so engines may share it.
struct sl_model : scalellm::ModelNumbers {
  using scalellm::ModelNumbers::ModelNumbers;
  virtual ~sl_model() = default;
  sl_model_info info = {};
};
