// The vector kernels of one instruction set, behind function pointers. Each is written once over cpu/vec.h and compiled
// in kernels_<isa>.cc; the matrix products have an interface of their own (linear.h).
#pragma once
#include <cstdint>

#include "cpu/attention/attention.h"
#include "cpu/attention/kv_cache.h"

namespace scalellm {

constexpr int32_t kMaxBlock = 64;    // values a block in block_max
constexpr int32_t kSumBlock = 1024;  // values a block in exp_sum

struct Kernels {
  // norm_kernel.h, rope_kernel.h, activation_kernel.h
  void (*rms_norm)(const float* x, const float* w, float eps, int64_t cols, float* y);
  void (*rope)(float* x, const float* cos, const float* sin, int32_t num_heads, int32_t head_dim);
  void (*silu_mul)(const float* gate, const float* up, int64_t count, float* y);
  void (*add_scaled)(float a, const float* x, int64_t count, float* y);
  // attention_kernel.h
  void (*kv_write)(const KvLayout& layout, uint8_t* head_block, int32_t offset, const float* k, const float* v);
  void (*attend)(const AttendArgs& args);
  void (*attend_combine)(const float* first, int32_t count, int64_t stride, int32_t head_dim, float* work, float* out);
  // sampler_kernel.h. NaN counts as absent everywhere.
  int32_t (*argmax)(const float* x, int32_t n);              // ties to the lowest index; 0 if all are NaN
  void (*block_max)(const float* x, int32_t n, float* out);  // largest of every kMaxBlock values, -inf if none
  double (*exp_sum)(const float* x, int32_t n, float max, float scale, float* p, float* sums);
  double (*sum_from)(const float* x, const float* p, int32_t n, float threshold);
  int32_t (*count_above)(const float* x, int32_t n, float threshold);
  int32_t (*collect_from)(const float* x, int32_t n, float threshold, int32_t* ids);  // ids of values >= threshold
};

const Kernels& kernels_for(int32_t isa);  // a resolved SL_ISA_*

}  // namespace scalellm
