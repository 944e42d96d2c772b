// Rotary position embedding (Su et al. 2021, arXiv 2104.09864) on halves (i, i + head_dim / 2), for the including
// file's instruction set.
#pragma once
#include "cpu/vec.h"

namespace scalellm::SL_VEC {

// Rotates x[num_heads, head_dim] in place by cos[head_dim / 2] and sin[head_dim / 2].
static void rope(float* x, const float* cos, const float* sin, int32_t num_heads, int32_t head_dim) {
  const int half = head_dim / 2;
  for (int h = 0; h < num_heads; ++h, x += head_dim) {
    for (int i = 0; i < half; i += kLanes) {
      const int n = half - i < kLanes ? half - i : kLanes;
      const V c = load_n(cos + i, n), s = load_n(sin + i, n), a = load_n(x + i, n), b = load_n(x + half + i, n);
      store_n(x + i, sub(mul(a, c), mul(b, s)), n);
      store_n(x + half + i, add(mul(b, c), mul(a, s)), n);
    }
  }
}

}  // namespace scalellm::SL_VEC
