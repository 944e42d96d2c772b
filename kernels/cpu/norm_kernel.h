// RMS norm (Zhang and Sennrich 2019, arXiv 1910.07467), for the including file's instruction set.
#pragma once
#include <math.h>

#include "cpu/vec.h"

namespace scalellm::SL_VEC {

// y[cols] = x / sqrt(mean(x^2) + eps) * w. y may be x.
static void rms_norm(const float* x, const float* w, float eps, int64_t cols, float* y) {
  V even = zero(), odd = zero();
  int64_t i = 0;
  for (; i + 2 * kLanes <= cols; i += 2 * kLanes) {
    const V a = load(x + i), b = load(x + i + kLanes);
    even = fma(a, a, even);
    odd = fma(b, b, odd);
  }
  for (; i < cols; i += kLanes) {
    const int n = cols - i < kLanes ? static_cast<int>(cols - i) : kLanes;
    const V a = load_n(x + i, n);
    even = fma(a, a, even);
  }
  const float mean = sum(add(even, odd)) / static_cast<float>(cols);
  const V scale = set1(1.0f / sqrtf(mean + eps));
  for (i = 0; i + kLanes <= cols; i += kLanes) store(y + i, mul(mul(load(x + i), scale), load(w + i)));
  if (i < cols) {
    const int n = static_cast<int>(cols - i);
    store_n(y + i, mul(mul(load_n(x + i, n), scale), load_n(w + i, n)), n);
  }
}

}  // namespace scalellm::SL_VEC
