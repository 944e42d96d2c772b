// A loaded model: numbers, behaviour flags and packed weights. Immutable after loading, so engines may share it.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/kernels.h"
#include "cpu/linear.h"
#include "scalellm.h"

namespace scalellm {

struct Layer {
  int32_t window = 0;           // sliding window in tokens; 0: full attention
  Buffer<float> attn_norm;      // [hidden]
  Buffer<float> ffn_norm;       // [hidden]
  Buffer<float> q_norm;         // [head_dim] or empty
  Buffer<float> k_norm;         // [head_dim] or empty
  Buffer<float> qkv_bias;       // [rows of qkv] or empty
  Buffer<float> o_bias;         // [hidden] or empty
  std::unique_ptr<Linear> qkv;  // rows: q heads, k heads, v heads
  std::unique_ptr<Linear> o;
  std::unique_ptr<Linear> gate_up;  // dense layers; gated
  std::unique_ptr<Linear> down;
  std::unique_ptr<Linear> router;                                    // float32; set in a mixture of experts
  std::vector<std::unique_ptr<Linear>> expert_gate_up, expert_down;  // [num_experts], one activation layout each
};

// Rows of the embedding as float32: a view of the tied lm_head, or the stored bytes of an untied table.
struct Embedding {
  const Linear* tied = nullptr;
  Buffer<uint8_t> bytes, scales;
  TensorView stored;
  void row(int32_t id, float* out) const {
    if (tied) return tied->dequantize_row(id, out);
    read_row(stored, id, out);
  }
};

}  // namespace scalellm

// The handle of the ABI.
struct sl_model {
  uint32_t flags = 0;  // SL_FLAG_*
  int32_t num_layers = 0, hidden_size = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0, intermediate_size = 0;
  int32_t vocab_size = 0, max_positions = 0, num_experts = 0, experts_per_token = 0, moe_intermediate_size = 0;
  float rms_norm_eps = 0, rope_attention_factor = 1;
  int32_t isa = 0;  // resolved
  const scalellm::Kernels* kernels = nullptr;
  std::vector<float> rope_inv_freq;  // [head_dim / 2]
  std::vector<scalellm::Layer> layers;
  scalellm::Buffer<float> final_norm;  // [hidden]
  scalellm::Embedding embedding;
  std::unique_ptr<scalellm::Linear> lm_head;
  sl_model_info info = {};

  int32_t q_size() const { return num_heads * head_dim; }
  int32_t kv_size() const { return num_kv_heads * head_dim; }
  int32_t qkv_size() const { return q_size() + 2 * kv_size(); }
};

namespace scalellm {

// Checks the description, reads every tensor and packs it. Throws StatusError.
std::unique_ptr<sl_model> load_model(const sl_model_desc& desc);

}  // namespace scalellm
