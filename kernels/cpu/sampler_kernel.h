// Scans over a row of logits or probabilities for the including file's instruction set. NaN counts as absent.
#pragma once
#include "cpu/kernels.h"
#include "cpu/vec.h"

namespace scalellm::SL_VEC {

// Index of the largest value, the lowest on ties; 0 when all are NaN.
static int32_t argmax(const float* x, int32_t n) {
  const V none = set1(-__builtin_inff());
  constexpr int kStride = kMaxBlock;
  float best = -__builtin_inff();
  int32_t at = 0;
  bool found = false;
  for (int32_t i = 0; i < n; i += kStride) {
    V most = none;
    if (n - i >= kStride) {
      for (int j = 0; j < kStride; j += kLanes) most = max(load(x + i + j), most);
      if (found && !above(most, set1(best))) continue;
    }
    for (int32_t j = i; j < smaller(n, i + kStride); ++j) {
      if (x[j] > best || (!found && x[j] == best)) {
        best = x[j];
        at = j;
        found = true;
      }
    }
  }
  return at;
}

static void block_max(const float* x, int32_t n, float* out) {
  constexpr int kStride = kMaxBlock;
  for (int32_t i = 0; i < n; i += kStride, ++out) {
    V most = set1(-__builtin_inff());
    for (int32_t j = i; j < smaller(n, i + kStride); j += kLanes) {
      const int count = smaller(kLanes, n - j);
      const V value = load_n(x + j, count);
      most = max(select(lanes_in(0, 0, count), value, most), most);
    }
    *out = largest(most);
  }
}

// p = e^((x - max) scale) where p is not null. Returns the sum, accumulated in float over kSumBlock values at a time
// and in double beyond; `sums`, where not null, receives the sum of each kSumBlock values.
static double exp_sum(const float* x, int32_t n, float max_value, float scale, float* p, float* sums) {
  const V shift = set1(max_value), factor = set1(scale);
  double total = 0;
  for (int32_t i = 0; i < n; i += kSumBlock) {
    const int32_t end = smaller(n, i + kSumBlock);
    V part = zero();
    for (int32_t j = i; j < end; j += kLanes) {
      const int count = smaller(kLanes, end - j);
      const V e = select(lanes_in(0, 0, count), exp(mul(sub(load_n(x + j, count), shift), factor)), zero());
      if (p) store_n(p + j, e, count);
      part = add(part, e);
    }
    const float value = sum(part);
    if (sums) *sums++ = value;
    total += static_cast<double>(value);
  }
  return total;
}

// Sum of the p whose x is >= threshold.
static double sum_from(const float* x, const float* p, int32_t n, float threshold) {
  const V least = set1(threshold);
  double total = 0;
  for (int32_t i = 0; i < n; i += kSumBlock) {
    const int32_t end = smaller(n, i + kSumBlock);
    V part = zero();
    for (int32_t j = i; j < end; j += kLanes) {
      const int count = smaller(kLanes, end - j);
      const uint32_t chosen = at_least(load_n(x + j, count), least) & lanes_in(0, 0, count);
      part = add(part, select(chosen, load_n(p + j, count), zero()));
    }
    total += static_cast<double>(sum(part));
  }
  return total;
}

static int32_t count_above(const float* x, int32_t n, float threshold) {
  const V least = set1(threshold);
  int32_t total = 0;
  for (int32_t i = 0; i < n; i += kLanes) {
    const int count = smaller(kLanes, n - i);
    total += __builtin_popcount(above(load_n(x + i, count), least) & lanes_in(0, 0, count));
  }
  return total;
}

// Writes the indices of values >= threshold, ascending; returns how many.
static int32_t collect_from(const float* x, int32_t n, float threshold, int32_t* ids) {
  const V least = set1(threshold);
  int32_t total = 0;
  for (int32_t i = 0; i < n; i += kLanes) {
    const int count = smaller(kLanes, n - i);
    uint32_t mask = at_least(load_n(x + i, count), least) & lanes_in(0, 0, count);
    for (; mask; mask &= mask - 1) ids[total++] = i + __builtin_ctz(mask);
  }
  return total;
}

}  // namespace scalellm::SL_VEC
