#include "common/weight_table.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/api.h"

namespace scalellm {
namespace {

// Interleaved rotary pairs of every head to halves.
void to_halves(Buffer<float>& values, int64_t count, const sl_tensor& t) {
  require(count % (2 * int64_t{t.rope_heads}) == 0,
          "tensor " + tensor_name(t) + ": rope_heads does not divide its length");
  const std::vector<float> stored(values.data(), values.data() + count);
  const int64_t dim = count / t.rope_heads;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t head = i / dim, within = i % dim, half = within / (dim / 2), pair = within % (dim / 2);
    values[i] = stored[static_cast<size_t>(head * dim + 2 * pair + half)];
  }
}

}  // namespace

WeightTable::WeightTable(const sl_model_desc& desc) : desc_(desc), files_(desc) {
  for (int32_t i = 0; i < desc.num_tensors; ++i) {
    const sl_tensor& t = desc.tensors[i];
    require(t.role >= SL_ROLE_EMBED && t.role <= SL_ROLE_EXPERT_DOWN, "tensors: unknown role");
    require(t.layer >= -1 && t.layer < desc.num_layers, "tensor " + tensor_name(t) + ": no such layer");
    require(t.expert >= -1 && t.expert < std::max(desc.num_experts, 1),
            "tensor " + tensor_name(t) + ": no such expert");
    require(tensors_.emplace(Key(t.role, t.layer, t.expert), &t).second, "tensor " + tensor_name(t) + ": twice");
    file_bytes_ += t.num_bytes + (t.scale_kind != SL_SCALE_NONE ? t.scale_num_bytes : 0);
    files_.view(t);
  }
}

bool WeightTable::has(int32_t role, int32_t layer, int32_t expert) const {
  return tensors_.count(Key(role, layer, expert)) > 0;
}

const sl_tensor& WeightTable::take(int32_t role, int32_t layer, int32_t expert) {
  const auto at = tensors_.find(Key(role, layer, expert));
  if (at == tensors_.end()) {
    sl_tensor missing = {};
    missing.role = role;
    missing.layer = layer;
    missing.expert = expert;
    throw StatusError(SL_ERR_ARGUMENT, "tensor " + tensor_name(missing) + ": missing");
  }
  const sl_tensor& t = *at->second;
  const Shape shape = expected(role);
  require(t.rows == shape.rows && t.cols == shape.cols,
          "tensor " + tensor_name(t) + ": shape [" + std::to_string(t.rows) + ", " + std::to_string(t.cols) +
              "], expected [" + std::to_string(shape.rows) + ", " + std::to_string(shape.cols) + "]");
  if (used_.insert(at->first).second) num_parameters_ += t.rows * t.cols;
  return t;
}

Buffer<float> WeightTable::vector(int32_t role, int32_t layer) {
  const sl_tensor& t = take(role, layer);
  TensorView view = files_.view(t);
  view.rope_heads = 0;
  Buffer<float> out(t.cols);
  read_row(view, 0, out.data());
  if (t.rope_heads > 0) to_halves(out, t.cols, t);
  files_.release(t);
  return out;
}

void WeightTable::check_all_used() const {
  for (const auto& [key, tensor] : tensors_)
    require(used_.count(key) > 0, "tensor " + tensor_name(*tensor) + ": not used");
}

WeightTable::Shape WeightTable::expected(int32_t role) const {
  const int64_t hidden = desc_.hidden_size, dim = desc_.head_dim;
  const int64_t q = desc_.num_heads * dim, kv = desc_.num_kv_heads * dim;
  switch (role) {
    case SL_ROLE_EMBED:
    case SL_ROLE_LM_HEAD:
      return {desc_.vocab_size, hidden};
    case SL_ROLE_FINAL_NORM:
    case SL_ROLE_ATTN_NORM:
    case SL_ROLE_FFN_NORM:
    case SL_ROLE_O_BIAS:
      return {1, hidden};
    case SL_ROLE_Q:
      return {q, hidden};
    case SL_ROLE_K:
    case SL_ROLE_V:
      return {kv, hidden};
    case SL_ROLE_O:
      return {hidden, q};
    case SL_ROLE_Q_BIAS:
      return {1, q};
    case SL_ROLE_K_BIAS:
    case SL_ROLE_V_BIAS:
      return {1, kv};
    case SL_ROLE_Q_NORM:
    case SL_ROLE_K_NORM:
      return {1, dim};
    case SL_ROLE_GATE:
    case SL_ROLE_UP:
      return {desc_.intermediate_size, hidden};
    case SL_ROLE_DOWN:
      return {hidden, desc_.intermediate_size};
    case SL_ROLE_ROUTER:
      return {desc_.num_experts, hidden};
    case SL_ROLE_EXPERT_GATE:
    case SL_ROLE_EXPERT_UP:
      return {desc_.moe_intermediate_size, hidden};
    case SL_ROLE_EXPERT_DOWN:
      return {hidden, desc_.moe_intermediate_size};
    default:
      throw StatusError(SL_ERR_ARGUMENT, "tensors: unknown role");
  }
}

}  // namespace scalellm
