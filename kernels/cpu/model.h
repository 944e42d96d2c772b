// A model on a CPU: packed weights beside its numbers.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "common/buffer.h"
#include "common/model.h"
#include "cpu/kernels.h"
#include "cpu/linear/linear.h"

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

struct CpuModel final : sl_model {
  using sl_model::sl_model;
  const Kernels* kernels = nullptr;  // of info.isa
  std::vector<Layer> layers;
  Buffer<float> final_norm;  // [hidden]
  Embedding embedding;
  std::unique_ptr<Linear> lm_head;
};

}  // namespace scalellm
