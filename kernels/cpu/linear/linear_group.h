// Group-quantised panels and the int8 activations they meet.
//
// Every GGUF type becomes one of seven encodings, which differ in the width of codes and in their scales. Two groups of
// 32 columns form a pair; a block is one pair, or the four pairs of a super-block after a header:
//
//   [d | d_min]  scales 0, scales 1 | mins 0, mins 1 | codes of group 0, codes of group 1   (x 1 or 4)
//
// That is the order in which a kernel reads them: from memory, out of order costs up to a third.
//
// Codes are in lines of 64 bytes, which are eight rows by four columns of the first half of a group and four of the
// second: both halves of a row are neighbours in a vector of products. Line j of 4-bit codes (of 4) has columns 4j ..
// 4j + 3 of the halves, of sixteen rows, two in a byte: quarter l has rows 4l and 4l + 1 in the low halves of its
// bytes, 4l + 2 and 4l + 3 in the high ones, so that two vectors of products pack into one in the order of rows. 8-bit
// codes, plus 128, have a line of the former rows and then one of the latter (of 8).
//
// Scales, mins, d and d_min are [16] of binary16. In super-blocks scales and mins are [16] bytes, to be multiplied by d
// and -d_min; Q6_K has signed scales, one for each half of a group.
//
// A weight is scale * (code - zero) + (min + zero * scale), zero in the middle of the codes. The second term is small,
// so that its product with the sum of the group's activations can run in bfloat16 where that is faster.
//
// Activations are int8 with a scale for every 16: in groups of 32 the bundled model's mean KL to float32 is 2.9e-3, in
// groups of 16 1.4e-3. The scales are 16-bit multiples of one unit a token, so that a multiply-add of integers weighs
// and joins the two halves of a group.
#pragma once
#include <cstdint>

#include "cpu/inline.h"
#include "cpu/linear/linear_panel.h"

namespace scalellm {

constexpr int kGroup = 32;
constexpr int kGroupHalf = 16;
constexpr int kPairCols = 2 * kGroup;

// What comes before a token's groups.
struct alignas(64) ActRow {
  float unit;  // of all the token's scales
};

// 32 activations: column 16h + 4j + i is unit * weights[h] * q[8j + 4h + i], as the lines of codes have it. One cache
// line, so that a kernel walks one pointer a token.
struct alignas(64) ActGroup {
  int8_t q[kGroup];
  int16_t weights[2];
  float scale[2];     // weights, for formats with a scale for each half
  int32_t zero[2];    // -8 times the sums of q; 8-bit codes, plus 128, take 16 times that
  float sum;          // of weights * q
  uint32_t sum_pair;  // in the first group of a pair: bfloat16 sums of both groups
};
static_assert(sizeof(ActGroup) == 64);

// The largest weight: two of them times products of 16 bits fit in 32.
constexpr float kMostWeight = 32767;

// Products of 8-bit codes lose four bits to fit in 16. Half of that is added before.
constexpr int kDroppedBits = 4;
constexpr int32_t kRound = 1 << (kDroppedBits - 1);

static inline const ActGroup* act_groups(const uint8_t* acts) {
  return reinterpret_cast<const ActGroup*>(acts + sizeof(ActRow));
}
static inline ActGroup* act_groups(uint8_t* acts) {
  return reinterpret_cast<ActGroup*>(acts + sizeof(ActRow));
}

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
  static constexpr int kMinOffset = 2 * kScaleBytes;                             // after the scales
  static constexpr int kCodeOffset = kMinOffset + (kHasMin ? 2 * kScaleBytes : 0);
  static constexpr int kPairBytes = kCodeOffset + 2 * kCodeBytes;
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

// Where the parts of a pair are: its block's header and itself.
template <class Byte>
struct PairOf {
  Byte* header;
  Byte* data;
};
using Pair = PairOf<const uint8_t>;

template <class Format, class Byte>
SL_INLINE PairOf<Byte> pair_of(Byte* panel, int64_t pair) {
  Byte* block = panel + pair / Format::kBlockPairs * Format::kBlockBytes;
  return {block, block + Format::kHeaderBytes + pair % Format::kBlockPairs * Format::kPairBytes};
}

// The lines of codes of group g.
template <class Format, class Byte>
SL_INLINE Byte* codes_of(PairOf<Byte> pair, int g) {
  return pair.data + Format::kCodeOffset + g * Format::kCodeBytes;
}

static_assert(kGroup == kAheadCols);
SL_INLINE void fetch(Ahead& ahead) {
  for (int64_t line = 0; line < ahead.step; line += 64) __builtin_prefetch(ahead.data + line, 0, 2);
  ahead.data += ahead.step;
}

// Activations of a token that are all smaller than this count as zero: their reciprocal would overflow.
constexpr float kLeastAct = 1e-30f;

static inline int64_t num_pairs(int64_t cols) {
  return (cols + kPairCols - 1) / kPairCols;
}

static inline float act_unit(float most) {
  return most > kLeastAct ? most / (127 * kMostWeight) : 1;  // with nothing to quantise any unit does
}

// Where the code of a row (0..15) and column (0..31) is among its group's lines.
template <class Format>
static inline int code_offset(int row, int column) {
  const int line = column % 16 / 4, in_line = 16 * (row / 4) + 8 * (row % 2) + 4 * (column / 16) + column % 4;
  return in_line + 64 * (Format::kBits == 4 ? line : 2 * line + row / 2 % 2);
}
// And where in its byte.
template <class Format>
static inline int code_shift(int row) {
  return Format::kBits == 4 ? 4 * (row / 2 % 2) : 0;
}

template <class Format>
static inline int code_at(const uint8_t* lines, int row, int column) {
  return lines[code_offset<Format>(row, column)] >> code_shift<Format>(row) & ((1 << Format::kBits) - 1);
}

// Fills the fields of a group that follow from its weights and the sums of q.
static inline void finish_act_group(const int32_t sums[2], bool second_of_pair, ActGroup* group) {
  for (int h = 0; h < 2; ++h) {
    group->scale[h] = group->weights[h];
    group->zero[h] = -8 * sums[h];
  }
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
