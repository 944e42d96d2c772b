// Elementwise kernels of the feed-forward block, for the including file's instruction set.
#pragma once
#include "cpu/vec.h"

namespace scalellm::SL_VEC {

// y[n] = silu(gate) * up, silu(v) = v / (1 + e^-v).
static void silu_mul(const float* gate, const float* up, int64_t count, float* y) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int n = count - i < kLanes ? static_cast<int>(count - i) : kLanes;
    const V g = load_n(gate + i, n), u = load_n(up + i, n);
    const V silu = div(g, add(set1(1.0f), exp(sub(zero(), g))));
    store_n(y + i, mul(silu, u), n);
  }
}

// y[n] += a * x: an expert's share of a token.
static void add_scaled(float a, const float* x, int64_t count, float* y) {
  const V scale = set1(a);
  for (int64_t i = 0; i < count; i += kLanes) {
    const int n = count - i < kLanes ? static_cast<int>(count - i) : kLanes;
    store_n(y + i, fma(scale, load_n(x + i, n), load_n(y + i, n)), n);
  }
}

}  // namespace scalellm::SL_VEC
