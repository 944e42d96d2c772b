// Tiny random models written to a temporary file, loaded and stepped through the ABI.
#pragma once
#include <unistd.h>

#include <cstdlib>

#include "check.h"

namespace check {

// A model of random numbers: odd sizes, unaligned tensors of several types, dense or with experts.
class RandomModel {
 public:
  RandomModel() {
    experts_ = pick({0, 0, 3, 5});
    kv_heads_ = integer(1, 2);
    heads_ = kv_heads_ * integer(1, 3);
    dim_ = 2 * integer(1, 12);
    hidden_ = 32 * integer(1, 2);
    inner_ = pick({32, 64, 96});
    layers_ = integer(1, 3);
    vocab_ = integer(2, 200);
    window_ = pick({0, 5, 40});
    tied_ = integer(0, 1) == 1;
    qk_norm_ = integer(0, 1) == 1;
    write();
    describe();
  }
  ~RandomModel() {
    sl_model_free(model_);
    std::remove(path_.c_str());
  }

  int vocab() const { return vocab_; }
  int window() const { return window_; }
  const sl_model_desc& desc() const { return desc_; }

  sl_model* load(int32_t isa, int32_t format) {
    sl_model_free(model_);
    model_ = nullptr;
    desc_.isa = isa;
    desc_.weight_format = format;
    expect_ok(sl_model_load(&desc_, &model_), "model load");
    return model_;
  }

  // Descriptions with one field broken must be refused, whatever the field.
  void fuzz_description() {
    for (int i = 0; i < 200; ++i) {
      std::vector<sl_tensor> broken = tensors_;
      uint8_t* bytes = reinterpret_cast<uint8_t*>(broken.data());
      const size_t at = static_cast<size_t>(integer(0, static_cast<int>(broken.size() * sizeof(sl_tensor)) - 4));
      const int32_t value = pick({-1, 0, 1, 7, 1 << 30, INT32_MIN, integer(-100, 100)});
      std::memcpy(bytes + at / 4 * 4, &value, 4);
      sl_model_desc desc = desc_;
      desc.tensors = broken.data();
      sl_model* model = nullptr;
      if (sl_model_load(&desc, &model) == SL_OK) sl_model_free(model);
    }
  }

 private:
  void tensor(int32_t role, int layer, int expert, int64_t rows, int64_t cols, bool vector = false) {
    sl_tensor t = {};
    t.role = role;
    t.layer = layer;
    t.expert = expert;
    t.dtype = vector ? SL_F32 : pick<int32_t>({SL_F32, SL_BF16, SL_Q8_0, SL_F8_E4M3});
    if (expert >= 0) t.dtype = SL_BF16;
    if (t.dtype == SL_Q8_0 && cols % 32 != 0) t.dtype = SL_F32;
    t.rows = rows;
    t.cols = cols;
    for (int i = integer(0, 3); i > 0; --i) file_.push_back(0xff);
    t.offset = static_cast<int64_t>(file_.size());
    if (t.dtype == SL_F8_E4M3) {
      t.scale_kind = pick<int32_t>({SL_SCALE_TENSOR, SL_SCALE_ROW, SL_SCALE_BLOCK});
      t.scale_block_rows = t.scale_block_cols = 16;
    }
    for (int64_t r = 0; r < rows; ++r) append_row(t, cols, vector);
    t.num_bytes = static_cast<int64_t>(file_.size()) - t.offset;
    if (t.scale_kind != SL_SCALE_NONE) append_scales(t);
    tensors_.push_back(t);
  }

  void append_row(const sl_tensor& t, int64_t cols, bool vector) {
    for (int64_t c = 0; c < cols; ++c) {
      const float x = vector ? 1 + normal(0.1f) : normal(0.2f);
      uint32_t bits;
      std::memcpy(&bits, &x, 4);
      if (t.dtype == SL_F32) append(&x, 4);
      if (t.dtype == SL_BF16) append(reinterpret_cast<const uint8_t*>(&bits) + 2, 2);
      if (t.dtype == SL_F8_E4M3) file_.push_back(static_cast<uint8_t>((integer(0, 1) << 7) + integer(0, 0x50)));
      if (t.dtype != SL_Q8_0) continue;
      const uint16_t scale = 0x1800;  // 2^-9
      if (c % 32 == 0) append(&scale, 2);
      file_.push_back(static_cast<uint8_t>(integer(-100, 100)));
    }
  }

  void append_scales(sl_tensor& t) {
    const auto blocks = [](int64_t n) { return (n + 15) / 16; };
    const int64_t count = t.scale_kind == SL_SCALE_TENSOR ? 1
                          : t.scale_kind == SL_SCALE_ROW  ? t.rows
                                                          : blocks(t.rows) * blocks(t.cols);
    t.scale_dtype = SL_F32;
    t.scale_offset = static_cast<int64_t>(file_.size());
    t.scale_num_bytes = 4 * count;
    for (int64_t i = 0; i < count; ++i) {
      const float scale = 0.05f + std::fabs(normal(0.02f));
      append(&scale, 4);
    }
  }

  void append(const void* bytes, size_t count) {
    const uint8_t* from = static_cast<const uint8_t*>(bytes);
    file_.insert(file_.end(), from, from + count);
  }

  void write() {
    tensor(SL_ROLE_EMBED, -1, -1, vocab_, hidden_);
    if (!tied_) tensor(SL_ROLE_LM_HEAD, -1, -1, vocab_, hidden_);
    tensor(SL_ROLE_FINAL_NORM, -1, -1, 1, hidden_, true);
    for (int l = 0; l < layers_; ++l) {
      tensor(SL_ROLE_ATTN_NORM, l, -1, 1, hidden_, true);
      tensor(SL_ROLE_Q, l, -1, heads_ * dim_, hidden_);
      tensor(SL_ROLE_K, l, -1, kv_heads_ * dim_, hidden_);
      tensor(SL_ROLE_V, l, -1, kv_heads_ * dim_, hidden_);
      tensor(SL_ROLE_O, l, -1, hidden_, heads_ * dim_);
      if (qk_norm_) tensor(SL_ROLE_Q_NORM, l, -1, 1, dim_, true);
      if (qk_norm_) tensor(SL_ROLE_K_NORM, l, -1, 1, dim_, true);
      if (!tied_) tensor(SL_ROLE_K_BIAS, l, -1, 1, kv_heads_ * dim_, true);
      tensor(SL_ROLE_FFN_NORM, l, -1, 1, hidden_, true);
      if (experts_ > 0) tensor(SL_ROLE_ROUTER, l, -1, experts_, hidden_);
      for (int e = 0; e < std::max(experts_, 1); ++e) {
        tensor(experts_ ? SL_ROLE_EXPERT_GATE : SL_ROLE_GATE, l, experts_ ? e : -1, inner_, hidden_);
        tensor(experts_ ? SL_ROLE_EXPERT_UP : SL_ROLE_UP, l, experts_ ? e : -1, inner_, hidden_);
        tensor(experts_ ? SL_ROLE_EXPERT_DOWN : SL_ROLE_DOWN, l, experts_ ? e : -1, hidden_, inner_);
      }
    }
    path_ = std::string(std::getenv("TMPDIR") ? std::getenv("TMPDIR") : "/tmp") + "/kernel_check_XXXXXX";
    const int fd = mkstemp(path_.data());
    const bool ok = fd >= 0 && ::write(fd, file_.data(), file_.size()) == static_cast<ssize_t>(file_.size());
    if (fd >= 0) close(fd);
    expect(ok, "writing the model file");
  }

  void describe() {
    desc_ = {};
    desc_.struct_bytes = sizeof(desc_);
    desc_.flags = (qk_norm_ ? SL_FLAG_QK_NORM : 0) | (integer(0, 1) ? SL_FLAG_NORM_TOPK_PROB : 0);
    desc_.num_layers = layers_;
    desc_.hidden_size = hidden_;
    desc_.num_heads = heads_;
    desc_.num_kv_heads = kv_heads_;
    desc_.head_dim = dim_;
    desc_.intermediate_size = experts_ ? 0 : inner_;
    desc_.vocab_size = vocab_;
    desc_.max_positions = 1000;
    desc_.num_experts = experts_;
    desc_.experts_per_token = experts_ ? 2 : 0;
    desc_.moe_intermediate_size = experts_ ? inner_ : 0;
    desc_.rms_norm_eps = 1e-5f;
    desc_.rope_attention_factor = 1;
    desc_.num_threads = 2;
    desc_.num_tensors = static_cast<int32_t>(tensors_.size());
    desc_.num_paths = 1;
    for (int i = 0; i < dim_ / 2; ++i)
      inv_freq_.push_back(std::pow(1e4f, -2.0f * static_cast<float>(i) / static_cast<float>(dim_)));
    windows_.assign(static_cast<size_t>(layers_), window_);
    path_pointer_ = path_.c_str();
    desc_.rope_inv_freq = inv_freq_.data();
    desc_.layer_window = windows_.data();
    desc_.tensors = tensors_.data();
    desc_.paths = &path_pointer_;
  }

  int experts_, kv_heads_, heads_, dim_, hidden_, inner_, layers_, vocab_, window_;
  bool tied_, qk_norm_;
  std::vector<uint8_t> file_;
  std::vector<sl_tensor> tensors_;
  std::vector<float> inv_freq_;
  std::vector<int32_t> windows_;
  std::string path_;
  const char* path_pointer_ = nullptr;
  sl_model_desc desc_ = {};
  sl_model* model_ = nullptr;
};

}  // namespace check
