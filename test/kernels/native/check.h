// Bookkeeping of kernel_check: a seeded generator, exact-size buffers (so that the address sanitizer sees every byte
// read past an end), and failures that name what failed.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "scalellm.h"

namespace check {

inline int failures = 0;
inline std::mt19937 generator;

inline bool expect(bool ok, const std::string& what) {
  if (!ok && ++failures <= 20) std::fprintf(stderr, "FAILED %s (last error: %s)\n", what.c_str(), sl_last_error());
  return ok;
}
inline void expect_ok(int64_t status, const std::string& what) {
  expect(status >= 0, what + ": status " + std::to_string(status));
}

inline int integer(int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(generator);
}
inline float normal(float scale = 1) {
  return std::normal_distribution<float>(0, scale)(generator);
}
template <class T>
T pick(std::initializer_list<T> choices) {
  return choices.begin()[integer(0, static_cast<int>(choices.size()) - 1)];
}
inline std::vector<float> normals(int64_t count, float scale = 1) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = normal(scale);
  out.shrink_to_fit();
  return out;
}
inline std::vector<int32_t> permutation(int count) {
  std::vector<int32_t> out(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) out[static_cast<size_t>(i)] = i;
  std::shuffle(out.begin(), out.end(), generator);
  return out;
}

// A value in double arithmetic, and its size: what rounding is relative to. The terms of a sum may cancel, so that is
// not the value but what a sum of such terms is in the mean: the product of the norms over the root of their number.
struct Exact {
  double value;
  double size;
};

inline Exact dot(const float* w, const float* x, int64_t cols) {
  double sum = 0, weights = 0, inputs = 0;
  for (int64_t k = 0; k < cols; ++k) {
    sum += static_cast<double>(w[k]) * x[k];
    weights += static_cast<double>(w[k]) * w[k];
    inputs += static_cast<double>(x[k]) * x[k];
  }
  return {sum, std::sqrt(weights * inputs / static_cast<double>(cols))};
}

inline void expect_close(const float* y, const std::vector<Exact>& exact, double tolerance, const std::string& what) {
  double error = 0, size = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error += (y[i] - exact[i].value) * (y[i] - exact[i].value);
    size += exact[i].size * exact[i].size;
  }
  expect(std::sqrt(error) <= tolerance * std::sqrt(size), what + ": error " + std::to_string(std::sqrt(error / size)));
}

// Instruction sets this machine runs.
inline std::vector<int32_t> isas() {
  std::vector<int32_t> out;
  for (int32_t isa = SL_ISA_PORTABLE; isa <= SL_ISA_AMX; ++isa) {
    float x = 0;
    const sl_op_silu_mul_args args = {isa, 1, 1, 0, &x, &x, &x};
    if (sl_op_silu_mul(&args) == SL_OK) out.push_back(isa);
  }
  return out;
}

}  // namespace check
