// Loading: every tensor of the description is matched with the role, layer and expert that the model's shape calls for,
// packed in the order of use, and its file pages are dropped at once, so that loading peaks near the packed size.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <tuple>

#include "common/dequant.h"
#include "cpu/api.h"
#include "cpu/model.h"
#include "cpu/probe.h"
#include "cpu/weight_files.h"

namespace scalellm {
namespace {

constexpr int32_t kMaxLayers = 1024, kMaxHeads = 1024, kMaxHeadDim = 512, kMaxExperts = 4096;
constexpr int32_t kMaxWidth = 1 << 20, kMaxVocab = 1 << 24;  // bounds far above any model, so that products fit int64

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
  within("num_heads / num_kv_heads", d.num_heads / d.num_kv_heads, 1, kMaxAttendRows);
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

class Loader {
 public:
  explicit Loader(const sl_model_desc& desc)
      : desc_(desc), files_(desc), team_(resolve_threads(desc.num_threads)), model_(std::make_unique<sl_model>()) {
    for (int32_t i = 0; i < desc.num_tensors; ++i) {
      const sl_tensor& t = desc.tensors[i];
      require(t.role >= SL_ROLE_EMBED && t.role <= SL_ROLE_EXPERT_DOWN, "tensors: unknown role");
      require(t.layer >= -1 && t.layer < desc.num_layers, "tensor " + tensor_name(t) + ": no such layer");
      require(t.expert >= -1 && t.expert < std::max(desc.num_experts, 1),
              "tensor " + tensor_name(t) + ": no such expert");
      require(tensors_.emplace(std::tuple(t.role, t.layer, t.expert), &t).second,
              "tensor " + tensor_name(t) + ": twice");
      info().file_bytes += t.num_bytes + (t.scale_kind != SL_SCALE_NONE ? t.scale_num_bytes : 0);
      files_.view(t);  // every range is checked before anything is packed
    }
  }

  std::unique_ptr<sl_model> load() {
    copy_numbers();
    load_head();
    model_->layers.resize(static_cast<size_t>(desc_.num_layers));
    for (int32_t i = 0; i < desc_.num_layers; ++i) load_layer(i);
    for (const auto& [key, tensor] : tensors_)
      require(used_.count(key) > 0, "tensor " + tensor_name(*tensor) + ": not used");
    return std::move(model_);
  }

 private:
  using Key = std::tuple<int32_t, int32_t, int32_t>;
  struct Shape {
    int32_t role;
    int64_t rows, cols;
  };

  sl_model_info& info() { return model_->info; }

  void copy_numbers() {
    sl_model& m = *model_;
    m.flags = desc_.flags;
    m.num_layers = desc_.num_layers;
    m.hidden_size = desc_.hidden_size;
    m.num_heads = desc_.num_heads;
    m.num_kv_heads = desc_.num_kv_heads;
    m.head_dim = desc_.head_dim;
    m.intermediate_size = desc_.intermediate_size;
    m.vocab_size = desc_.vocab_size;
    m.max_positions = desc_.max_positions;
    m.num_experts = desc_.num_experts;
    m.experts_per_token = desc_.experts_per_token;
    m.moe_intermediate_size = desc_.moe_intermediate_size;
    m.rms_norm_eps = desc_.rms_norm_eps;
    m.rope_attention_factor = desc_.rope_attention_factor;
    m.rope_inv_freq.assign(desc_.rope_inv_freq, desc_.rope_inv_freq + desc_.head_dim / 2);
    m.isa = resolve_isa(desc_.isa);
    m.kernels = &kernels_for(m.isa);
    info().isa = m.isa;
  }

  const sl_tensor* find(int32_t role, int32_t layer = -1, int32_t expert = -1) {
    const auto at = tensors_.find(Key(role, layer, expert));
    return at == tensors_.end() ? nullptr : at->second;
  }

  const sl_tensor& take(const Shape& shape, int32_t layer, int32_t expert = -1) {
    const sl_tensor* t = find(shape.role, layer, expert);
    if (!t) {
      sl_tensor missing = {};
      missing.role = shape.role;
      missing.layer = layer;
      missing.expert = expert;
      throw StatusError(SL_ERR_ARGUMENT, "tensor " + tensor_name(missing) + ": missing");
    }
    require(t->rows == shape.rows && t->cols == shape.cols,
            "tensor " + tensor_name(*t) + ": shape [" + std::to_string(t->rows) + ", " + std::to_string(t->cols) +
                "], expected [" + std::to_string(shape.rows) + ", " + std::to_string(shape.cols) + "]");
    if (used_.emplace(Key(shape.role, layer, expert), true).second) info().num_parameters += t->rows * t->cols;
    return *t;
  }

  // A norm or bias as float32[cols].
  Buffer<float> vector(int32_t role, int64_t cols, int32_t layer) {
    const sl_tensor& t = take({role, 1, cols}, layer);
    TensorView view = files_.view(t);
    view.rope_heads = 0;
    Buffer<float> out(cols);
    read_row(view, 0, out.data());
    if (t.rope_heads > 0) to_halves(out, cols, t.rope_heads, t);
    files_.release(t);
    info().weight_bytes += out.bytes();
    return out;
  }

  // A bias of interleaved rotary rows is permuted as its matrix is.
  static void to_halves(Buffer<float>& values, int64_t count, int32_t heads, const sl_tensor& t) {
    require(count % (2 * int64_t{heads}) == 0, "tensor " + tensor_name(t) + ": rope_heads does not divide its length");
    const std::vector<float> stored(values.data(), values.data() + count);
    const int64_t dim = count / heads;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t head = i / dim, within = i % dim, half = within / (dim / 2), pair = within % (dim / 2);
      values[i] = stored[static_cast<size_t>(head * dim + 2 * pair + half)];
    }
  }

  struct Use {
    bool gate_up = false, float32 = false;
  };

  std::unique_ptr<Linear> linear(std::initializer_list<Shape> shapes, int32_t layer, int32_t expert, Use use) {
    LinearSpec spec;
    spec.gate_up = use.gate_up;
    spec.weight_format = use.float32 ? static_cast<int32_t>(SL_WEIGHTS_F32) : desc_.weight_format;
    spec.isa = model_->isa;
    std::vector<const sl_tensor*> taken;
    for (const Shape& shape : shapes) {
      taken.push_back(&take(shape, layer, expert));
      spec.parts.push_back(files_.view(*taken.back()));
    }
    auto packed = Linear::pack(spec, team_);
    for (const sl_tensor* t : taken) files_.release(*t);
    info().weight_bytes += packed->weight_bytes();
    return packed;
  }

  void load_head() {
    const int64_t vocab = desc_.vocab_size, hidden = desc_.hidden_size;
    const bool tied = !find(SL_ROLE_LM_HEAD);
    model_->lm_head = linear({{tied ? SL_ROLE_EMBED : SL_ROLE_LM_HEAD, vocab, hidden}}, -1, -1, {});
    if (tied) {
      model_->embedding.tied = model_->lm_head.get();
    } else {
      load_embedding(take({SL_ROLE_EMBED, vocab, hidden}, -1));
    }
    model_->final_norm = vector(SL_ROLE_FINAL_NORM, hidden, -1);
  }

  void load_embedding(const sl_tensor& t) {
    Embedding& e = model_->embedding;
    e.stored = files_.view(t);
    e.bytes = Buffer<uint8_t>(t.num_bytes);
    std::memcpy(e.bytes.data(), e.stored.data, static_cast<size_t>(t.num_bytes));
    e.stored.data = e.bytes.data();
    if (e.stored.scale) {
      e.scales = Buffer<uint8_t>(t.scale_num_bytes);
      std::memcpy(e.scales.data(), e.stored.scale, static_cast<size_t>(t.scale_num_bytes));
      e.stored.scale = e.scales.data();
    }
    files_.release(t);
    info().weight_bytes += e.bytes.bytes() + e.scales.bytes();
  }

  void load_layer(int32_t index) {
    const sl_model& m = *model_;
    Layer& layer = model_->layers[static_cast<size_t>(index)];
    const int64_t hidden = m.hidden_size, q = m.q_size(), kv = m.kv_size();
    layer.window = desc_.layer_window[index];
    layer.attn_norm = vector(SL_ROLE_ATTN_NORM, hidden, index);
    layer.qkv = linear({{SL_ROLE_Q, q, hidden}, {SL_ROLE_K, kv, hidden}, {SL_ROLE_V, kv, hidden}}, index, -1, {});
    load_biases(index, layer);
    if (m.flags & SL_FLAG_QK_NORM) {
      layer.q_norm = vector(SL_ROLE_Q_NORM, m.head_dim, index);
      layer.k_norm = vector(SL_ROLE_K_NORM, m.head_dim, index);
    }
    layer.o = linear({{SL_ROLE_O, hidden, q}}, index, -1, {});
    layer.ffn_norm = vector(SL_ROLE_FFN_NORM, hidden, index);
    if (find(SL_ROLE_ROUTER, index)) return load_experts(index, layer);
    const int64_t inner = m.intermediate_size;
    layer.gate_up = linear({{SL_ROLE_GATE, inner, hidden}, {SL_ROLE_UP, inner, hidden}}, index, -1, {.gate_up = true});
    layer.down = linear({{SL_ROLE_DOWN, hidden, inner}}, index, -1, {});
  }

  void load_biases(int32_t index, Layer& layer) {
    const sl_model& m = *model_;
    const struct {
      int32_t role, first, count;
    } parts[] = {{SL_ROLE_Q_BIAS, 0, m.q_size()},
                 {SL_ROLE_K_BIAS, m.q_size(), m.kv_size()},
                 {SL_ROLE_V_BIAS, m.q_size() + m.kv_size(), m.kv_size()}};
    for (const auto& part : parts) {
      if (!find(part.role, index)) continue;
      if (layer.qkv_bias.empty()) {
        layer.qkv_bias = Buffer<float>(m.qkv_size());
        std::fill_n(layer.qkv_bias.data(), m.qkv_size(), 0.0f);
      }
      const Buffer<float> bias = vector(part.role, part.count, index);
      std::copy_n(bias.data(), part.count, layer.qkv_bias.data() + part.first);
    }
    if (find(SL_ROLE_O_BIAS, index)) layer.o_bias = vector(SL_ROLE_O_BIAS, m.hidden_size, index);
  }

  void load_experts(int32_t index, Layer& layer) {
    const sl_model& m = *model_;
    const int64_t hidden = m.hidden_size, inner = m.moe_intermediate_size;
    require(m.num_experts > 0, "num_experts: 0, but layer " + std::to_string(index) + " has a router");
    layer.router = linear({{SL_ROLE_ROUTER, m.num_experts, hidden}}, index, -1, {.float32 = true});
    for (int32_t e = 0; e < m.num_experts; ++e) {
      layer.expert_gate_up.push_back(linear({{SL_ROLE_EXPERT_GATE, inner, hidden}, {SL_ROLE_EXPERT_UP, inner, hidden}},
                                            index, e, {.gate_up = true}));
      layer.expert_down.push_back(linear({{SL_ROLE_EXPERT_DOWN, hidden, inner}}, index, e, {}));
      if (!(layer.expert_gate_up[0]->act_layout() == layer.expert_gate_up.back()->act_layout()) ||
          !(layer.expert_down[0]->act_layout() == layer.expert_down.back()->act_layout())) {
        throw StatusError(SL_ERR_UNSUPPORTED,
                          "the experts of layer " + std::to_string(index) + " differ in weight type");
      }
    }
  }

  const sl_model_desc& desc_;
  WeightFiles files_;
  Team team_;
  std::unique_ptr<sl_model> model_;
  std::map<Key, const sl_tensor*> tensors_;
  std::map<Key, bool> used_;
};

}  // namespace

std::unique_ptr<sl_model> load_model(const sl_model_desc& desc) {
  check_desc(desc);
  return Loader(desc).load();
}

}  // namespace scalellm
