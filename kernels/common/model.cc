// Descriptions of models: checks, numbers, and the entry points of sl_model.
#include "common/model.h"

#include <algorithm>
#include <cmath>

#include "common/api.h"
#include "common/backend.h"

namespace scalellm {
namespace {

constexpr int32_t kMaxLayers = 1024, kMaxHeads = 1024, kMaxHeadDim = 512, kMaxExperts = 4096;
constexpr int32_t kMaxWidth = 1 << 20, kMaxVocab = 1 << 24;  // bounds far above any model, so that products fit int64

}  // namespace

void check_desc(const sl_model_desc& d) {
  const auto within = [](const char* field, int32_t value, int32_t low, int32_t high) {
    require(value >= low && value <= high, std::string(field) + ": out of range");
  };
  require(d.struct_bytes == sizeof(sl_model_desc), "struct_bytes: not this library's sl_model_desc");
  within("num_layers", d.num_layers, 1, kMaxLayers);
  within("hidden_size", d.hidden_size, 1, kMaxWidth);
  within("num_heads", d.num_heads, 1, kMaxHeads);
  within("num_kv_heads", d.num_kv_heads, 1, d.num_heads);
  require(d.num_heads % d.num_kv_heads == 0, "num_kv_heads: does not divide num_heads");
  within("head_dim", d.head_dim, 2, kMaxHeadDim);
  require(d.head_dim % 2 == 0, "head_dim: must be even");
  within("intermediate_size", d.intermediate_size, 0, kMaxWidth);
  within("vocab_size", d.vocab_size, 1, kMaxVocab);
  within("max_positions", d.max_positions, 1, INT32_MAX);
  within("num_experts", d.num_experts, 0, kMaxExperts);
  if (d.num_experts > 0) {
    within("experts_per_token", d.experts_per_token, 1, d.num_experts);
    within("moe_intermediate_size", d.moe_intermediate_size, 1, kMaxWidth);
  }
  require(std::isfinite(d.rms_norm_eps) && d.rms_norm_eps >= 0, "rms_norm_eps: must be finite and not negative");
  require(std::isfinite(d.rope_attention_factor), "rope_attention_factor: must be finite");
  within("weight_format", d.weight_format, SL_WEIGHTS_AUTO, SL_WEIGHTS_INT8);
  within("num_tensors", d.num_tensors, 0, INT32_MAX);
  within("num_paths", d.num_paths, 0, INT32_MAX);
  require(d.rope_inv_freq != nullptr, "rope_inv_freq: null");
  require(d.layer_window != nullptr, "layer_window: null");
  require(d.tensors != nullptr || d.num_tensors == 0, "tensors: null");
  require(d.paths != nullptr || d.num_paths == 0, "paths: null");
  for (int32_t i = 0; i < d.num_layers; ++i) require(d.layer_window[i] >= 0, "layer_window: negative");
}

ModelNumbers::ModelNumbers(const sl_model_desc& d)
    : flags(d.flags),
      num_layers(d.num_layers),
      hidden_size(d.hidden_size),
      num_heads(d.num_heads),
      num_kv_heads(d.num_kv_heads),
      head_dim(d.head_dim),
      intermediate_size(d.intermediate_size),
      vocab_size(d.vocab_size),
      max_positions(d.max_positions),
      num_experts(d.num_experts),
      experts_per_token(d.experts_per_token),
      moe_intermediate_size(d.moe_intermediate_size),
      rms_norm_eps(d.rms_norm_eps),
      rope_attention_factor(d.rope_attention_factor),
      rope_inv_freq(d.rope_inv_freq, d.rope_inv_freq + d.head_dim / 2),
      layer_window(d.layer_window, d.layer_window + d.num_layers) {}

int32_t ModelNumbers::widest_window() const {
  if (std::find(layer_window.begin(), layer_window.end(), 0) != layer_window.end()) return 0;
  return *std::max_element(layer_window.begin(), layer_window.end());
}

}  // namespace scalellm

using namespace scalellm;

extern "C" int32_t sl_model_load(const sl_model_desc* desc, sl_model** out) {
  return guarded([&] {
    require(desc != nullptr && out != nullptr, "desc, out: null");
    check_desc(*desc);
    *out = load_model(*desc).release();
    return SL_OK;
  });
}

extern "C" int32_t sl_model_get_info(const sl_model* model, sl_model_info* out) {
  return guarded([&] {
    require(model != nullptr && out != nullptr, "model, out: null");
    *out = model->info;
    return SL_OK;
  });
}

extern "C" void sl_model_free(sl_model* model) {
  delete model;
}
