// Group-quantised panel kernels for NEON with the dot product extension.
//
// sdot multiplies sixteen signed bytes and adds each four of them to a lane of 32 bits: of a quarter line, two rows by
// the two halves of a group. Codes of 4 bits are signed as they are; those of 8 lose the 128 that was added to them.
#include <arm_neon.h>

#include "cpu/linear/linear_group_act.h"

namespace scalellm {
namespace {

constexpr int kHalfRows = 8;  // rows whose codes the registers hold: two quarters of every line
constexpr int kQuarters = 2;
constexpr int kMaxTokens = 4;

// Four columns of both halves of a group, as every row meets them.
SL_INLINE int8x16_t load_act(const int8_t* q) {
  int64_t words;
  __builtin_memcpy(&words, q, 8);
  return vreinterpretq_s8_s64(vdupq_n_s64(words));
}
// What a token has for each half of a group, over the lanes of a product.
SL_INLINE int32x4_t load_zeros(const int32_t* zero) {
  const int32x2_t both = vld1_s32(zero);
  return vcombine_s32(both, both);
}
SL_INLINE float32x4_t load_scales(const float* scale) {
  const float32x2_t both = vld1_f32(scale);
  return vcombine_f32(both, both);
}

SL_INLINE float32x4_t load_half(const uint8_t* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p))));
}
// Four bytes as floats.
SL_INLINE float32x4_t load_bytes(const uint8_t* p, bool is_signed) {
  uint32_t word;
  __builtin_memcpy(&word, p, 4);
  const uint8x8_t bytes = vcreate_u8(word);
  if (is_signed) return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(bytes)))));
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}

// Scale of half h of group g (of the whole group where halves share one), for four rows from `row`.
template <class Format>
SL_INLINE float32x4_t load_scale(Pair pair, int g, int h, int row) {
  const uint8_t* scales = pair.data + g * Format::kScaleBytes;
  if constexpr (!Format::kSuper) return load_half(scales + 2 * row);
  const uint8_t* bytes = scales + (Format::kHalves ? kPanelRows * h : 0) + row;
  return vmulq_f32(load_half(pair.header + 2 * row), load_bytes(bytes, Format::kHalves));
}

template <class Format>
SL_INLINE float32x4_t load_min(Pair pair, int g, int row) {
  const uint8_t* mins = pair.data + Format::kMinOffset + g * Format::kScaleBytes;
  if constexpr (!Format::kSuper) return load_half(mins + 2 * row);
  return vnegq_f32(vmulq_f32(load_half(pair.header + 32 + 2 * row), load_bytes(mins + row, false)));
}

// The operands of a group for eight rows: [line][quarter][first or second rows of its four].
template <class Format>
SL_INLINE void load_codes(const uint8_t* lines, int half, int8x16_t (*codes)[kQuarters][2]) {
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < kQuarters; ++i) {
      const int at = 16 * (kQuarters * half + i);
      if constexpr (Format::kBits == 4) {
        const uint8x16_t both = vld1q_u8(lines + 64 * j + at);
        codes[j][i][0] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
        codes[j][i][1] = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
      } else {
        for (int k = 0; k < 2; ++k) {
          const uint8x16_t code = vld1q_u8(lines + 64 * (2 * j + k) + at);
          codes[j][i][k] = vreinterpretq_s8_u8(veorq_u8(code, vdupq_n_u8(128)));
        }
      }
    }
  }
}

// Adds group g of a pair to the sums of a few tokens, for eight rows.
template <class Format, int kTokens>
SL_INLINE void add_group(Pair pair, int g, int half, const uint8_t* const* acts, int64_t at,
                         float32x4_t (*sum)[kQuarters]) {
  int8x16_t codes[4][kQuarters][2];
  load_codes<Format>(codes_of<Format>(pair, g), half, codes);
  float32x4_t scale[kQuarters][2], min[kQuarters];
  for (int i = 0; i < kQuarters; ++i) {
    const int row = kHalfRows * half + 4 * i;
    for (int h = 0; h < (Format::kHalves ? 2 : 1); ++h) scale[i][h] = load_scale<Format>(pair, g, h, row);
    if constexpr (Format::kMin) {
      min[i] = vfmaq_n_f32(load_min<Format>(pair, g, row), scale[i][0], Format::kZero);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    const ActGroup* a = reinterpret_cast<const ActGroup*>(acts[t] + at);
    int32x4_t dot[kQuarters][2];
    for (auto& quarter : dot) {
      for (int32x4_t& x : quarter) x = Format::kBits == 4 ? load_zeros(a->zero) : vdupq_n_s32(0);
    }
    for (int j = 0; j < 4; ++j) {
      const int8x16_t act = load_act(a->q + 8 * j);
      for (int i = 0; i < kQuarters; ++i) {
        for (int k = 0; k < 2; ++k) dot[i][k] = vdotq_s32(dot[i][k], codes[j][i][k], act);
      }
    }
    const float32x4_t weights = load_scales(a->scale);
    for (int i = 0; i < kQuarters; ++i) {
      const float32x4_t x = vmulq_f32(vcvtq_f32_s32(dot[i][0]), weights);
      const float32x4_t y = vmulq_f32(vcvtq_f32_s32(dot[i][1]), weights);
      if constexpr (Format::kHalves) {
        sum[t][i] = vfmaq_f32(sum[t][i], vuzp1q_f32(x, y), scale[i][0]);
        sum[t][i] = vfmaq_f32(sum[t][i], vuzp2q_f32(x, y), scale[i][1]);
      } else {
        sum[t][i] = vfmaq_f32(sum[t][i], vpaddq_f32(x, y), scale[i][0]);
      }
      if constexpr (Format::kMin) sum[t][i] = vfmaq_n_f32(sum[t][i], min[i], a->sum);
    }
  }
}

// Eight rows after eight; a panel's lines are in the nearest cache the second time.
template <class Format, int kTokens>
static void multiply_tokens(const uint8_t* first_block, int64_t cols, const uint8_t* const* acts, float* out) {
  const int64_t end = int64_t(sizeof(ActRow)) + num_pairs(cols) * 2 * int64_t(sizeof(ActGroup));
  for (int half = 0; half < 2; ++half) {
    float32x4_t sum[kTokens][kQuarters];
    for (auto& token : sum) {
      for (float32x4_t& x : token) x = vdupq_n_f32(0);
    }
    const uint8_t* block = first_block;
    for (int64_t at = sizeof(ActRow); at < end; block += Format::kBlockBytes) {
      for (int i = 0; i < Format::kBlockPairs; ++i) {
        const Pair pair = {block, block + Format::kHeaderBytes + i * Format::kPairBytes};
        for (int g = 0; g < 2; ++g, at += sizeof(ActGroup)) add_group<Format, kTokens>(pair, g, half, acts, at, sum);
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      const float unit = reinterpret_cast<const ActRow*>(acts[t])->unit;
      for (int i = 0; i < kQuarters; ++i) {
        vst1q_f32(out + t * kPanelRows + kHalfRows * half + 4 * i, vmulq_n_f32(sum[t][i], unit));
      }
    }
  }
}

template <class Format, int kTokens = kMaxTokens>
static void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead, float* out) {
  for (; count >= kTokens; count -= kTokens, acts += kTokens, out += kTokens * kPanelRows) {
    multiply_tokens<Format, kTokens>(panel, cols, acts, out);
  }
  if constexpr (kTokens > 1) {
    if (count > 0) multiply<Format, kTokens - 1>(panel, cols, acts, count, {}, out);
  }
}

SL_INLINE float32x4_t abs_max(const float* x) {
  float32x4_t most = vabsq_f32(vld1q_f32(x));
  for (int i = 4; i < kGroupHalf; i += 4) most = vmaxq_f32(most, vabsq_f32(vld1q_f32(x + i)));
  return most;
}

// Rounds half h of a group to int8 and returns the sum of the integers.
static inline int32_t quantize_half(const float* x, float unit, int h, ActGroup* group) {
  const float factor = weigh_half(vmaxvq_f32(abs_max(x)), unit, h, group);
  int32x4_t whole[4];
  for (int i = 0; i < 4; ++i) whole[i] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), factor));
  int8_t q[kGroupHalf];
  for (int i = 0; i < 4; i += 2) {
    vst1_s8(q + 4 * i, vmovn_s16(vcombine_s16(vmovn_s32(whole[i]), vmovn_s32(whole[i + 1]))));
  }
  place_half(q, h, group);
  return vaddvq_s32(vaddq_s32(vaddq_s32(whole[0], whole[1]), vaddq_s32(whole[2], whole[3])));
}

SL_INLINE float largest(const float* x, int64_t cols) {
  float32x4_t most = vdupq_n_f32(0);
  int64_t i = 0;
  for (; i + kGroupHalf <= cols; i += kGroupHalf) most = vmaxq_f32(most, abs_max(x + i));
  float range = vmaxvq_f32(most);
  for (; i < cols; ++i) range = __builtin_fmaxf(range, __builtin_fabsf(x[i]));
  return range;
}

void prepare(const float* x, int64_t cols, uint8_t* acts) {
  prepare_halves(x, cols, largest(x, cols), acts, quantize_half);
}

}  // namespace

const GroupKernels kGroupKernelsNeon = {
    .multiply = {multiply<FormatU4>, multiply<FormatU4Min>, multiply<FormatI8>, multiply<FormatI8Min>,
                 multiply<FormatK4>, multiply<FormatK5>, multiply<FormatK6>},
    .token_block = kTokenBlock,
    .prepare = prepare,
    .one_pass_tokens = kMostTokens,
};

}  // namespace scalellm
