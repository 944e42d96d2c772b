// Group-quantised panels and the int8 activations they meet.
//
// Every GGUF type becomes one of seven encodings, which differ in the width of codes and in their scales. Two groups of
// 32 columns form a pair; a block is one pair, or the four pairs of a super-block after a header:
//
//   [d | d_min]  codes of group 0, codes of group 1 | scales 0, scales 1 | mins 0, mins 1   (x 1 or 4)
//
// 4-bit codes: 4 lines of 64 bytes a group. Byte 4r + i of line j holds, for row r, column 4j + i in its low half and
// column 16 + 4j + i in its high half: a line masked is the unsigned operand of a multiply-add of four columns, without
// shifts. 8-bit codes: 8 lines; byte 4r + i of line j is column 4j + i plus 128.
// Scales, mins, d and d_min are [16] of binary16. In super-blocks scales and mins are [16] bytes, to be multiplied by d
// and -d_min; Q6_K has signed scales, one for each half of a group.
//
// A weight is scale * (code - zero) + (min + zero * scale), zero in the middle of the codes. The second term is small,
// so that its product with the sum of the group's activations can run in bfloat16 where that is faster.
//
// Activations are int8 with a scale for every 16: in groups of 32 the bundled model's mean KL to float32 is 2.9e-3, in
// groups of 16 1.4e-3, at the price of one more multiply-add for 128 or more.
#pragma once
#include <cstdint>

#include "cpu/linear_panel.h"

namespace scalellm {

constexpr int kGroup = 32;
constexpr int kGroupHalf = 16;
constexpr int kPairCols = 2 * kGroup;

// 32 activations: x = scale[i / 16] * q. One cache line, so that a kernel walks one pointer a token.
struct alignas(64) ActGroup {
  int8_t q[kGroup];
  float scale[2];
  float scale_high;   // scale[1] / 16, for 4-bit codes multiplied where they lie, in the high half of a byte
  int32_t zero4;      // -8 times the sum of the first half's q
  int32_t zero8[2];   // -128 times the sums of q
  float sum;          // of scale * q
  uint32_t sum_pair;  // in the first group of a pair: bfloat16 sums of both groups
};
static_assert(sizeof(ActGroup) == 64);

enum class Scales { kHalf, kSuper, kSuperSigned };

template <int kCodeBits, Scales kScales, bool kHasMin>
struct GroupFormat {
  static constexpr int kBits = kCodeBits;
  static constexpr bool kSuper = kScales != Scales::kHalf;
  static constexpr bool kHalves = kScales == Scales::kSuperSigned;  // a scale for each half of a group
  static constexpr bool kMin = kHasMin;
  static constexpr int kZero = kCodeBits == 4 ? 8 : 16;  // of formats with a min, whose codes have 4 or 5 bits
  static constexpr int kCodeBytes = kPanelRows * kGroup * kCodeBits / 8;
  static constexpr int kScaleBytes = kPanelRows * (kSuper && !kHalves ? 1 : 2);  // of a group
  static constexpr int kScaleOffset = 2 * kCodeBytes;
  static constexpr int kMinOffset = kScaleOffset + 2 * kScaleBytes;
  static constexpr int kPairBytes = kMinOffset + (kHasMin ? 2 * kScaleBytes : 0);
  static constexpr int kBlockPairs = kSuper ? 4 : 1;
  static constexpr int kHeaderBytes = kSuper ? 64 : 0;
  static constexpr int kBlockBytes = kHeaderBytes + kBlockPairs * kPairBytes;
  static_assert(kBlockBytes % 64 == 0 && kPairBytes % 64 == 0);
};
using FormatU4 = GroupFormat<4, Scales::kHalf, false>;         // Q4_0
using FormatU4Min = GroupFormat<4, Scales::kHalf, true>;       // Q4_1
using FormatI8 = GroupFormat<8, Scales::kHalf, false>;         // Q8_0, Q5_0, floats quantised at load
using FormatI8Min = GroupFormat<8, Scales::kHalf, true>;       // Q5_1
using FormatK4 = GroupFormat<4, Scales::kSuper, true>;         // Q4_K
using FormatK5 = GroupFormat<8, Scales::kSuper, true>;         // Q5_K
using FormatK6 = GroupFormat<8, Scales::kSuperSigned, false>;  // Q6_K

// How far ahead weights are fetched when several tokens slow the stream down, so that it looks idle to the hardware's
// own prefetching; that is best left alone with one token.
constexpr int kPrefetchBytes = 3072;

// Activations of a group that are all smaller than this count as zero: their reciprocal would overflow.
constexpr float kLeastAct = 1e-30f;

static inline int64_t num_pairs(int64_t cols) {
  return (cols + kPairCols - 1) / kPairCols;
}

// Fills the fields of a group that follow from q, scale and the sums of q. Static like all that kernels include: code
// compiled for one instruction set must not be merged with another's.
static inline void finish_act_group(const int32_t sums[2], bool second_of_pair, ActGroup* group) {
  group->scale_high = group->scale[1] * 0.0625f;
  group->zero4 = -8 * sums[0];
  group->zero8[0] = -128 * sums[0];
  group->zero8[1] = -128 * sums[1];
  group->sum = group->scale[0] * float(sums[0]) + group->scale[1] * float(sums[1]);
  uint32_t bits;
  __builtin_memcpy(&bits, &group->sum, 4);
  const uint32_t bf16 = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  group->sum_pair = 0;
  if (second_of_pair) {
    group[-1].sum_pair |= bf16 << 16;
  } else {
    group->sum_pair = bf16;
  }
}

}  // namespace scalellm
