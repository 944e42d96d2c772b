// How activations become groups, around what an instruction set does with sixteen of them or, where vectors are wide,
// with several halves of groups at once.
#pragma once
#include "cpu/linear/linear_group.h"

namespace scalellm {

// Sets the weight of half h of a group, the smallest that leaves its integers in range where `most` is its largest
// magnitude, and returns what to multiply the half with before it is rounded.
static inline float weigh_half(float most, float unit, int h, ActGroup* group) {
  const float exact = most / (127 * unit);
  const float weight = exact < kMostWeight ? __builtin_ceilf(exact) : kMostWeight;
  group->weights[h] = int16_t(weight);
  return weight > 0 ? 1 / (weight * unit) : 0;
}

// Puts the integers of half h, in the order of the columns, where its group has them.
static inline void place_half(const int8_t* q, int h, ActGroup* group) {
  for (int j = 0; j < 4; ++j) __builtin_memcpy(group->q + 8 * j + 4 * h, q + 4 * j, 4);
}

// Quantises float32[cols] whose largest magnitude is `range`. quantize_half(x, unit, h, group) rounds the sixteen at x
// to half h of a group and returns the sum of the integers.
template <class QuantizeHalf>
static void prepare_halves(const float* x, int64_t cols, float range, uint8_t* acts, QuantizeHalf quantize_half) {
  const float unit = act_unit(range);
  reinterpret_cast<ActRow*>(acts)->unit = unit;
  ActGroup* group = act_groups(acts);
  for (int64_t first = 0; first < num_pairs(cols) * kPairCols; first += kGroup, ++group) {
    float padded[kGroup];
    const float* source = x + first;
    if (first + kGroup > cols) {
      for (int i = 0; i < kGroup; ++i) padded[i] = first + i < cols ? x[first + i] : 0.0f;
      source = padded;
    }
    int32_t sums[2];
    for (int h = 0; h < 2; ++h) sums[h] = quantize_half(source + h * kGroupHalf, unit, h, group);
    finish_act_group(sums, first % kPairCols != 0, group);
  }
}

}  // namespace scalellm
