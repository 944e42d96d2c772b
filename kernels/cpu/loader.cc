// Loading: the model's weights are taken from the table in the order of use and packed one by one; a tensor's file
// pages are dropped at once, so that loading peaks near the packed size.
#include <algorithm>
#include <cstring>

#include "common/api.h"
#include "common/backend.h"
#include "common/weight_table.h"
#include "cpu/model.h"
#include "cpu/probe.h"

namespace scalellm {
namespace {

class Loader {
 public:
  explicit Loader(const sl_model_desc& desc)
      : desc_(desc), table_(desc), team_(resolve_threads(desc.num_threads)), model_(std::make_unique<CpuModel>(desc)) {
    info().isa = resolve_isa(desc.isa);
    model_->kernels = &kernels_for(info().isa);
  }

  std::unique_ptr<sl_model> load() {
    load_head();
    model_->layers.resize(static_cast<size_t>(desc_.num_layers));
    for (int32_t i = 0; i < desc_.num_layers; ++i) load_layer(i);
    table_.check_all_used();
    info().file_bytes = table_.file_bytes();
    info().num_parameters = table_.num_parameters();
    return std::move(model_);
  }

 private:
  sl_model_info& info() { return model_->info; }

  Buffer<float> vector(int32_t role, int32_t layer) {
    Buffer<float> out = table_.vector(role, layer);
    info().weight_bytes += out.bytes();
    return out;
  }

  struct Use {
    bool gate_up = false, float32 = false;
  };

  // Packs tensors of these roles one below the other.
  std::unique_ptr<Linear> linear(std::initializer_list<int32_t> roles, int32_t layer, int32_t expert, Use use) {
    LinearSpec spec;
    spec.gate_up = use.gate_up;
    spec.weight_format = use.float32 ? static_cast<int32_t>(SL_WEIGHTS_F32) : desc_.weight_format;
    spec.isa = info().isa;
    std::vector<const sl_tensor*> taken;
    for (const int32_t role : roles) {
      taken.push_back(&table_.take(role, layer, expert));
      spec.parts.push_back(table_.view(*taken.back()));
    }
    auto packed = Linear::pack(spec, team_);
    for (const sl_tensor* t : taken) table_.release(*t);
    info().weight_bytes += packed->weight_bytes();
    return packed;
  }

  void load_head() {
    const bool tied = !table_.has(SL_ROLE_LM_HEAD);
    model_->lm_head = linear({tied ? SL_ROLE_EMBED : SL_ROLE_LM_HEAD}, -1, -1, {});
    if (tied) {
      model_->embedding.tied = model_->lm_head.get();
    } else {
      load_embedding(table_.take(SL_ROLE_EMBED));
    }
    model_->final_norm = vector(SL_ROLE_FINAL_NORM, -1);
  }

  void load_embedding(const sl_tensor& t) {
    Embedding& e = model_->embedding;
    e.stored = table_.view(t);
    e.bytes = Buffer<uint8_t>(t.num_bytes);
    std::memcpy(e.bytes.data(), e.stored.data, static_cast<size_t>(t.num_bytes));
    e.stored.data = e.bytes.data();
    if (e.stored.scale) {
      e.scales = Buffer<uint8_t>(t.scale_num_bytes);
      std::memcpy(e.scales.data(), e.stored.scale, static_cast<size_t>(t.scale_num_bytes));
      e.stored.scale = e.scales.data();
    }
    table_.release(t);
    info().weight_bytes += e.bytes.bytes() + e.scales.bytes();
  }

  void load_layer(int32_t index) {
    Layer& layer = model_->layers[static_cast<size_t>(index)];
    layer.window = model_->layer_window[static_cast<size_t>(index)];
    layer.attn_norm = vector(SL_ROLE_ATTN_NORM, index);
    layer.qkv = linear({SL_ROLE_Q, SL_ROLE_K, SL_ROLE_V}, index, -1, {});
    load_biases(index, layer);
    if (model_->flags & SL_FLAG_QK_NORM) {
      layer.q_norm = vector(SL_ROLE_Q_NORM, index);
      layer.k_norm = vector(SL_ROLE_K_NORM, index);
    }
    layer.o = linear({SL_ROLE_O}, index, -1, {});
    layer.ffn_norm = vector(SL_ROLE_FFN_NORM, index);
    if (table_.has(SL_ROLE_ROUTER, index)) return load_experts(index, layer);
    layer.gate_up = linear({SL_ROLE_GATE, SL_ROLE_UP}, index, -1, {.gate_up = true});
    layer.down = linear({SL_ROLE_DOWN}, index, -1, {});
  }

  void load_biases(int32_t index, Layer& layer) {
    const sl_model& m = *model_;
    const struct {
      int32_t role, first, count;
    } parts[] = {{SL_ROLE_Q_BIAS, 0, m.q_size()},
                 {SL_ROLE_K_BIAS, m.q_size(), m.kv_size()},
                 {SL_ROLE_V_BIAS, m.q_size() + m.kv_size(), m.kv_size()}};
    for (const auto& part : parts) {
      if (!table_.has(part.role, index)) continue;
      if (layer.qkv_bias.empty()) {
        layer.qkv_bias = Buffer<float>(m.qkv_size());
        std::fill_n(layer.qkv_bias.data(), m.qkv_size(), 0.0f);
      }
      const Buffer<float> bias = vector(part.role, index);
      std::copy_n(bias.data(), part.count, layer.qkv_bias.data() + part.first);
    }
    if (table_.has(SL_ROLE_O_BIAS, index)) layer.o_bias = vector(SL_ROLE_O_BIAS, index);
  }

  void load_experts(int32_t index, Layer& layer) {
    require(desc_.num_experts > 0, "num_experts: 0, but layer " + std::to_string(index) + " has a router");
    layer.router = linear({SL_ROLE_ROUTER}, index, -1, {.float32 = true});
    for (int32_t e = 0; e < desc_.num_experts; ++e) {
      layer.expert_gate_up.push_back(linear({SL_ROLE_EXPERT_GATE, SL_ROLE_EXPERT_UP}, index, e, {.gate_up = true}));
      layer.expert_down.push_back(linear({SL_ROLE_EXPERT_DOWN}, index, e, {}));
      if (!(layer.expert_gate_up[0]->act_layout() == layer.expert_gate_up.back()->act_layout()) ||
          !(layer.expert_down[0]->act_layout() == layer.expert_down.back()->act_layout())) {
        throw StatusError(SL_ERR_UNSUPPORTED,
                          "the experts of layer " + std::to_string(index) + " differ in weight type");
      }
    }
  }

  const sl_model_desc& desc_;
  WeightTable table_;
  Team team_;
  std::unique_ptr<CpuModel> model_;
};

}  // namespace

std::unique_ptr<sl_model> load_model(const sl_model_desc& desc) {
  require(desc.num_heads / desc.num_kv_heads <= kMaxAttendRows, "num_heads / num_kv_heads: out of range");
  return Loader(desc).load();
}

}  // namespace scalellm
