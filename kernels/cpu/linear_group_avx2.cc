// Group-quantised panel kernels for AVX2.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds two products in 16 bits. Codes of 4 bits leave room for four
// such sums (8 * 15 * 127 < 2^15), so a half group is widened once. Codes of 8 bits do not fit and run as two 4-bit
// digits.
#include <immintrin.h>

#include "cpu/linear_group.h"

namespace scalellm {
namespace {

#define SL_INLINE static inline __attribute__((always_inline))

constexpr int kHalfRows = 8;  // rows in a register

SL_INLINE __m256i broadcast(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}

template <class Format>
SL_INLINE __m256 load_scale(const uint8_t* p, int half) {
  if constexpr (Format::kWide) return _mm256_load_ps(reinterpret_cast<const float*>(p) + kHalfRows * half);
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p) + half));
}

SL_INLINE __m256i load_line(const uint8_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
SL_INLINE __m256i low_digit(__m256i both) {
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
SL_INLINE __m256i high_digit(__m256i both) {
  return low_digit(_mm256_srli_epi16(both, 4));
}

// Sixteen columns of 4-bit codes by eight rows, times `weight`.
SL_INLINE __m256i dot_digits(const __m256i* codes, const __m256i* q, int16_t weight) {
  const __m256i a = _mm256_add_epi16(_mm256_maddubs_epi16(codes[0], q[0]), _mm256_maddubs_epi16(codes[1], q[1]));
  const __m256i b = _mm256_add_epi16(_mm256_maddubs_epi16(codes[2], q[2]), _mm256_maddubs_epi16(codes[3], q[3]));
  return _mm256_madd_epi16(_mm256_add_epi16(a, b), _mm256_set1_epi16(weight));
}

struct Scales {
  __m256 scale[2];
  __m256 min;
};

template <class Format>
SL_INLINE Scales load_scales(const uint8_t* pair, int g, int half) {
  const uint8_t* scales = pair + Format::kScaleOffset + g * Format::kScaleBytes;
  Scales out;
  out.scale[0] = load_scale<Format>(scales, half);
  out.scale[1] = Format::kHalves ? load_scale<Format>(scales + Format::kScaleBytes / 2, half) : out.scale[0];
  if constexpr (Format::kMin && Format::kBits == 4) {
    out.min = load_scale<Format>(pair + Format::kMinOffset + g * Format::kScaleBytes, half);
  } else if constexpr (Format::kMin) {
    out.min = _mm256_fmadd_ps(_mm256_set1_ps(Format::kZero), out.scale[0],
                              load_scale<Format>(pair + Format::kMinOffset + g * Format::kScaleBytes, half));
  } else {
    out.min = _mm256_mul_ps(_mm256_set1_ps(-8.0f), out.scale[0]);
  }
  return out;
}

// 4-bit codes run without their zero, which joins the min.
template <class Format>
SL_INLINE __m256 add_group(__m256 sum, __m256i dot0, __m256i dot1, const Scales& s, const ActGroup* a) {
  const __m256 first = _mm256_mul_ps(_mm256_cvtepi32_ps(dot0), _mm256_set1_ps(a->scale[0]));
  const __m256 scale1 = _mm256_set1_ps(a->scale[1]);
  if constexpr (Format::kHalves) {
    const __m256 second = _mm256_mul_ps(_mm256_cvtepi32_ps(dot1), scale1);
    sum = _mm256_fmadd_ps(second, s.scale[1], _mm256_fmadd_ps(first, s.scale[0], sum));
  } else {
    sum = _mm256_fmadd_ps(_mm256_fmadd_ps(_mm256_cvtepi32_ps(dot1), scale1, first), s.scale[0], sum);
  }
  if constexpr (Format::kMin || Format::kBits == 4) sum = _mm256_fmadd_ps(_mm256_set1_ps(a->sum), s.min, sum);
  return sum;
}

// One group, eight rows, all tokens; the sums stay in memory (level 1), which leaves the registers to the codes.
template <class Format>
SL_INLINE void multiply_group(const uint8_t* pair, int g, int half, const uint8_t* const* acts, int64_t at, int count,
                              float* sums) {
  const uint8_t* lines = pair + g * Format::kCodeBytes + 32 * half;
  const Scales scales = load_scales<Format>(pair, g, half);
  __m256i codes[8];
  if constexpr (Format::kBits == 4) {
    for (int j = 0; j < 4; ++j) {
      const __m256i both = load_line(lines + 64 * j);
      codes[j] = low_digit(both);
      codes[j + 4] = high_digit(both);
    }
  }
  for (int i = 0; i < count; ++i) {
    const ActGroup* a = reinterpret_cast<const ActGroup*>(acts[i] + at);
    __m256i dot[2];
    for (int h = 0; h < 2; ++h) {
      __m256i q[4];
      for (int j = 0; j < 4; ++j) q[j] = broadcast(a->q + 16 * h + 4 * j);
      if constexpr (Format::kBits == 4) {
        dot[h] = dot_digits(codes + 4 * h, q, 1);
      } else {
        __m256i low[4], high[4];
        for (int j = 0; j < 4; ++j) {
          const __m256i both = load_line(lines + 64 * (4 * h + j));
          low[j] = low_digit(both);
          high[j] = high_digit(both);
        }
        dot[h] = _mm256_add_epi32(_mm256_set1_epi32(a->zero8[h]),
                                  _mm256_add_epi32(dot_digits(low, q, 1), dot_digits(high, q, 16)));
      }
    }
    float* sum = sums + i * kPanelRows + half * kHalfRows;
    _mm256_store_ps(sum, add_group<Format>(_mm256_load_ps(sum), dot[0], dot[1], scales, a));
  }
}

template <class Format>
static void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, float* out) {
  for (int i = 0; i < 2 * count; ++i) _mm256_store_ps(out + i * kHalfRows, _mm256_setzero_ps());
  int64_t at = 0;
  for (int64_t pair = num_pairs(cols); pair > 0; --pair, panel += Format::kPairBytes) {
    for (int g = 0; g < 2; ++g, at += sizeof(ActGroup)) {
      for (int half = 0; half < 2; ++half) multiply_group<Format>(panel, g, half, acts, at, count, out);
    }
  }
}

SL_INLINE __m256 abs_max(__m256 a, __m256 b) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return _mm256_max_ps(_mm256_andnot_ps(sign, a), _mm256_andnot_ps(sign, b));
}

SL_INLINE float largest(__m256 x) {
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

// Rounds half a group to int8 and returns the sum of the integers.
SL_INLINE int32_t quantize_half(const float* x, int8_t* q, float* scale) {
  const __m256 x0 = _mm256_loadu_ps(x), x1 = _mm256_loadu_ps(x + 8);
  const float most = largest(abs_max(x0, x1));
  const bool zero = !(most > kLeastAct);
  *scale = zero ? 0.0f : most / 127.0f;
  const __m256 inverse = _mm256_set1_ps(zero ? 0.0f : 127.0f / most);
  const __m256i q0 = _mm256_cvtps_epi32(_mm256_mul_ps(x0, inverse)),
                q1 = _mm256_cvtps_epi32(_mm256_mul_ps(x1, inverse));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(q0, q1), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_store_si128(reinterpret_cast<__m128i*>(q), bytes);
  const __m256i both = _mm256_add_epi32(q0, q1);
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

void prepare(const float* x, int64_t cols, uint8_t* acts) {
  ActGroup* group = reinterpret_cast<ActGroup*>(acts);
  for (int64_t first = 0; first < num_pairs(cols) * kPairCols; first += kGroup, ++group) {
    float padded[kGroup];
    const float* source = x + first;
    if (first + kGroup > cols) {
      for (int i = 0; i < kGroup; ++i) padded[i] = first + i < cols ? x[first + i] : 0.0f;
      source = padded;
    }
    int32_t sums[2];
    for (int h = 0; h < 2; ++h) {
      sums[h] = quantize_half(source + h * kGroupHalf, group->q + h * kGroupHalf, &group->scale[h]);
    }
    finish_act_group(sums, first % kPairCols != 0, group);
  }
}

}  // namespace

const GroupKernels kGroupKernelsAvx2 = {
    {multiply<FormatU4>, multiply<FormatU4Min>, multiply<FormatK4>, multiply<FormatI8>, multiply<FormatI8Min>,
     multiply<FormatI8Half>},
    prepare,
};

}  // namespace scalellm
