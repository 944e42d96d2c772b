// The loops that show a limit, for the including file's vectors. Static like all that kernels include.
#pragma once
#include "cpu/inline.h"
#include "cpu/roofline/limits.h"

namespace scalellm {

// Makes the compiler believe that a vector is used and changed.
template <class V>
SL_INLINE void keep(V& x) {
#if defined(__aarch64__)
  asm volatile("" : "+w"(x));
#else
  asm volatile("" : "+v"(x));
#endif
}

// Reads every line into kSums independent sums of vectors: sum = step(sum, address).
template <int kSums, class V, class Step>
SL_INLINE void read_lines(const uint8_t* data, int64_t bytes, Step step) {
  V sum[kSums] = {};
  for (int64_t i = 0; i < bytes; i += int64_t(kSums * sizeof(V))) {
    for (int j = 0; j < kSums; ++j) sum[j] = step(sum[j], data + i + j * int64_t(sizeof(V)));
  }
  for (V& s : sum) keep(s);
}

// Advances kSums independent sums, enough to cover the latency of a step: sum = step(sum, a, b).
template <int kSums, class Sum, class V, class Step>
SL_INLINE void run_chains(int64_t iterations, V a, V b, Step step) {
  Sum sum[kSums] = {};
  for (Sum& s : sum) keep(s);  // distinct to the compiler
  for (int64_t i = 0; i < iterations; ++i) {
    keep(a);
    keep(b);
    for (Sum& s : sum) s = step(s, a, b);
  }
  for (Sum& s : sum) keep(s);
}

}  // namespace scalellm
