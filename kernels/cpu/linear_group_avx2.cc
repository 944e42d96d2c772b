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

// Sixteen columns of 4-bit codes by eight rows, times `weight`, for a few tokens. The sums advance in step: the
// schedulers of Zen hold few instructions, and one chain after the other would wait for its own latencies.
template <int kTokens>
SL_INLINE void dot_digits(const __m256i* codes, const int8_t* const* q, int16_t weight, __m256i* dot) {
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < kTokens; ++i) {
      const __m256i product = _mm256_maddubs_epi16(codes[j], broadcast(q[i] + 4 * j));
      dot[i] = j == 0 ? product : _mm256_add_epi16(dot[i], product);
      // Keeps the compiler from turning the chains into trees, for which there are not enough registers.
      asm("" : "+x"(dot[i]));
    }
  }
  for (int i = 0; i < kTokens; ++i) dot[i] = _mm256_madd_epi16(dot[i], _mm256_set1_epi16(weight));
}

// Scale and min of one group for both halves of a panel. Codes of 4 bits run without their zero, which joins the min.
struct alignas(32) Scales {
  float scale[2][kPanelRows];  // of the halves of the group
  float min[kPanelRows];
};

template <class Format>
SL_INLINE void load_scales(const uint8_t* pair, int g, Scales* out) {
  const uint8_t* scales = pair + Format::kScaleOffset + g * Format::kScaleBytes;
  const uint8_t* mins = pair + Format::kMinOffset + g * Format::kScaleBytes;
  for (int half = 0; half < 2; ++half) {
    const __m256 first = load_scale<Format>(scales, half);
    const __m256 second = Format::kHalves ? load_scale<Format>(scales + Format::kScaleBytes / 2, half) : first;
    __m256 min = _mm256_mul_ps(_mm256_set1_ps(-8.0f), first);
    if constexpr (Format::kMin) min = load_scale<Format>(mins, half);
    if constexpr (Format::kMin && Format::kBits == 8) {
      min = _mm256_fmadd_ps(_mm256_set1_ps(Format::kZero), first, min);
    }
    _mm256_store_ps(out->scale[0] + kHalfRows * half, first);
    _mm256_store_ps(out->scale[1] + kHalfRows * half, second);
    _mm256_store_ps(out->min + kHalfRows * half, min);
  }
}

// Eight rows of half h of a group; of 8-bit codes the low or the high digit.
template <class Format, int h>
SL_INLINE void load_codes(const uint8_t* lines, bool high, __m256i* codes) {
  for (int j = 0; j < 4; ++j) {
    const __m256i both = load_line(lines + 64 * (Format::kBits == 4 ? j : 4 * h + j));
    codes[j] = high ? high_digit(both) : low_digit(both);
  }
}

template <class Format, int h, int kTokens>
SL_INLINE void add_tokens(const __m256i* codes, const __m256i* high_codes, __m256 scale, __m256 min,
                          const uint8_t* const* acts, int64_t at, float* sums) {
  const ActGroup* a[kTokens];
  const int8_t* q[kTokens];
  for (int i = 0; i < kTokens; ++i) {
    a[i] = reinterpret_cast<const ActGroup*>(acts[i] + at);
    q[i] = a[i]->q + 16 * h;
  }
  __m256i dot[kTokens];
  dot_digits<kTokens>(codes, q, 1, dot);
  if constexpr (Format::kBits == 8) {
    __m256i high[kTokens];
    dot_digits<kTokens>(high_codes, q, 16, high);
    for (int i = 0; i < kTokens; ++i) {
      dot[i] = _mm256_add_epi32(_mm256_set1_epi32(a[i]->zero8[h]), _mm256_add_epi32(dot[i], high[i]));
    }
  }
  for (int i = 0; i < kTokens; ++i) {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[i]), _mm256_set1_ps(a[i]->scale[h]));
    __m256 total = _mm256_fmadd_ps(product, scale, _mm256_load_ps(sums + i * kPanelRows));
    if constexpr (h == 1 && (Format::kMin || Format::kBits == 4)) {
      total = _mm256_fmadd_ps(_mm256_set1_ps(a[i]->sum), min, total);
    }
    _mm256_store_ps(sums + i * kPanelRows, total);
  }
}

// Adds sixteen columns (half h of a group) by eight rows to every token's sums. The sums stay in memory (level 1),
// which leaves the registers to the codes. A function of its own, because inlined the loop's counters are spilled.
template <class Format, int h>
__attribute__((noinline)) void add_half_group(const uint8_t* lines, const float* scales, const float* mins,
                                              const uint8_t* const* acts, int64_t at, int count, float* sums) {
  __m256i codes[4], high_codes[4];
  load_codes<Format, h>(lines, Format::kBits == 4 && h == 1, codes);
  if constexpr (Format::kBits == 8) load_codes<Format, h>(lines, true, high_codes);
  const __m256 scale = _mm256_load_ps(scales), min = _mm256_load_ps(mins);
  constexpr int kTokens = Format::kBits == 4 ? 4 : 2;
  for (; count >= kTokens; count -= kTokens, acts += kTokens, sums += kTokens * kPanelRows) {
    add_tokens<Format, h, kTokens>(codes, high_codes, scale, min, acts, at, sums);
  }
  for (; count > 0; --count, ++acts, sums += kPanelRows) {
    add_tokens<Format, h, 1>(codes, high_codes, scale, min, acts, at, sums);
  }
}

template <class Format>
static void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, float* out) {
  for (int i = 0; i < 2 * count; ++i) _mm256_store_ps(out + i * kHalfRows, _mm256_setzero_ps());
  int64_t at = 0;
  for (int64_t pair = num_pairs(cols); pair > 0; --pair, panel += Format::kPairBytes) {
    for (int g = 0; g < 2; ++g, at += sizeof(ActGroup)) {
      Scales scales;
      load_scales<Format>(panel, g, &scales);
      for (int half = 0; half < 2; ++half) {
        const uint8_t* lines = panel + g * Format::kCodeBytes + 32 * half;
        const int row = half * kHalfRows;
        add_half_group<Format, 0>(lines, scales.scale[0] + row, scales.min + row, acts, at, count, out + row);
        add_half_group<Format, 1>(lines, scales.scale[1] + row, scales.min + row, acts, at, count, out + row);
      }
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
