// Group-quantised panel kernels for AVX-512 with VNNI and BF16.
//
// On Zen 4 vpdpbusd, vpmaddwd, float multiplies and fused multiply-adds share two 256-bit pipes, so a group of 16 rows
// and 32 columns costs 8 + 2 issues a token, 10.5 with a min, and the peak of this file is 8 / 10.5 of vpdpbusd's.
// Everything else (conversions, integer and logical operations) runs beside them on the other two pipes. The schedulers
// hold some 64 instructions, less than two tokens' chains of products: tokens advance in step, two at a time.
#include <immintrin.h>

#include "cpu/linear_group_act.h"

namespace scalellm {
namespace {

SL_INLINE __m512i broadcast(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm512_set1_epi32(word);
}
// Of both halves of a group.
SL_INLINE __m512i broadcast_halves(const void* p) {
  int64_t words;
  __builtin_memcpy(&words, p, 8);
  return _mm512_set1_epi64(words);
}

SL_INLINE __m512 load_half(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}

// Scale of half h of group g (of the whole group where halves share one).
template <class Format>
SL_INLINE __m512 load_scale(Pair pair, int g, int h) {
  const uint8_t* scales = pair.data + Format::kScaleOffset + g * Format::kScaleBytes;
  if constexpr (!Format::kSuper) return load_half(scales);
  const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(scales) + (Format::kHalves ? h : 0));
  const __m512i wide = Format::kHalves ? _mm512_cvtepi8_epi32(bytes) : _mm512_cvtepu8_epi32(bytes);
  return _mm512_mul_ps(load_half(pair.header), _mm512_cvtepi32_ps(wide));
}

template <class Format>
SL_INLINE __m512 load_min(Pair pair, int g) {
  const uint8_t* mins = pair.data + Format::kMinOffset + g * Format::kScaleBytes;
  if constexpr (!Format::kSuper) return load_half(mins);
  const __m512i wide = _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(mins)));
  const __m512 d_min = _mm512_sub_ps(_mm512_setzero_ps(), load_half(pair.header + 32));
  return _mm512_mul_ps(d_min, _mm512_cvtepi32_ps(wide));
}

// The eight operands of a group: line j of the first and the second rows of every four.
template <class Format>
SL_INLINE void load_codes(const uint8_t* p, __m512i (*codes)[2]) {
  const __m512i low = _mm512_set1_epi8(0x0f);
  for (int j = 0; j < 4; ++j) {
    if constexpr (Format::kBits == 8) {
      for (int k = 0; k < 2; ++k) codes[j][k] = _mm512_load_si512(p + 64 * (2 * j + k));
    } else {
      const __m512i both = _mm512_load_si512(p + 64 * j);
      codes[j][0] = _mm512_and_si512(both, low);
      codes[j][1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  }
}

// min + zero * scale of both groups of a pair as bfloat16, rounded to nearest.
template <class Format>
SL_INLINE __m512bh load_mins(Pair pair) {
  const __m512 zero = _mm512_set1_ps(Format::kZero);
  __m512 min[2];
  for (int g = 0; g < 2; ++g) {
    min[g] = _mm512_fmadd_ps(zero, load_scale<Format>(pair, g, 0), load_min<Format>(pair, g));
  }
  const __m512i round = _mm512_set1_epi32(0x8000);
  const __m512i first = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(min[0]), round), 16);
  const __m512i second = _mm512_add_epi32(_mm512_castps_si512(min[1]), round);
  return (__m512bh)_mm512_mask_blend_epi16(0xaaaaaaaa, first, second);
}

// A group added to the sum of a token, from its products: halves side by side, first rows of every four and second.
template <class Format>
SL_INLINE __m512 add_dots(__m512 sum, __m512i even, __m512i odd, const __m512* scale, const ActGroup* a) {
  if constexpr (Format::kHalves) {
    const __m512 x = _mm512_cvtepi32_ps(even), y = _mm512_cvtepi32_ps(odd);
    const __m512 first = _mm512_mul_ps(_mm512_shuffle_ps(x, y, 0x88), _mm512_set1_ps(a->scale[0]));
    const __m512 second = _mm512_mul_ps(_mm512_shuffle_ps(x, y, 0xdd), _mm512_set1_ps(a->scale[1]));
    return _mm512_fmadd_ps(second, scale[1], _mm512_fmadd_ps(first, scale[0], sum));
  } else {
    if constexpr (Format::kBits == 8) {
      even = _mm512_srai_epi32(even, kDroppedBits);
      odd = _mm512_srai_epi32(odd, kDroppedBits);
    }
    // Of 4-bit codes 16 * 8 * 127 fits in 16 bits as it is.
    const __m512i both = _mm512_madd_epi16(_mm512_packs_epi32(even, odd), broadcast(a->weights));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(both), scale[0], sum);
  }
}

// Adds a group to the sums of a few tokens in step.
template <class Format, int kTokens>
SL_INLINE void add_group(const __m512i (*codes)[2], const __m512* scale, const uint8_t* const* acts, int64_t at,
                         __m512* sum) {
  const ActGroup* a[kTokens];
  __m512i dot[kTokens][2];
  for (int i = 0; i < kTokens; ++i) {
    a[i] = reinterpret_cast<const ActGroup*>(acts[i] + at);
    __m512i start = broadcast_halves(a[i]->zero);
    if constexpr (Format::kBits == 8) start = _mm512_slli_epi32(start, 4);
    if constexpr (Format::kBits == 8 && !Format::kHalves) start = _mm512_add_epi32(start, _mm512_set1_epi32(kRound));
    dot[i][0] = dot[i][1] = start;
  }
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < kTokens; ++i) {
      const __m512i act = broadcast_halves(a[i]->q + 8 * j);
      for (int k = 0; k < 2; ++k) dot[i][k] = _mm512_dpbusd_epi32(dot[i][k], codes[j][k], act);
      asm("" : "+v"(dot[i][0]), "+v"(dot[i][1]));  // keeps the order
    }
  }
  for (int i = 0; i < kTokens; ++i) sum[i] = add_dots<Format>(sum[i], dot[i][0], dot[i][1], scale, a[i]);
}

// Adds group g of a pair to every token's sum.
template <class Format, int kCount>
SL_INLINE void add_group_tokens(Pair pair, int g, const uint8_t* const* acts, int64_t at, Ahead& ahead, __m512* sum) {
  fetch(ahead);
  __m512i codes[4][2];
  load_codes<Format>(pair.data + g * Format::kCodeBytes, codes);
  __m512 scale[2];
  scale[0] = load_scale<Format>(pair, g, 0);
  if constexpr (Format::kHalves) {
    scale[1] = load_scale<Format>(pair, g, 1);
  } else if constexpr (Format::kBits == 8) {
    scale[0] = _mm512_mul_ps(scale[0], _mm512_set1_ps(1 << kDroppedBits));
  }
  // Pointers to tokens are read where they are used: the compiler would keep them in vector registers.
  asm volatile("" : : : "memory");
  constexpr int kInStep = 2;
  at += g * int64_t(sizeof(ActGroup));
#pragma GCC unroll 16
  for (int i = 0; i + kInStep <= kCount; i += kInStep) {
    add_group<Format, kInStep>(codes, scale, acts + i, at, sum + i);
  }
  if constexpr (kCount % kInStep != 0) add_group<Format, 1>(codes, scale, acts + kCount - 1, at, sum + kCount - 1);
}

template <class Format, int kCount>
SL_INLINE void add_pair_tokens(Pair pair, const uint8_t* const* acts, int64_t at, Ahead& ahead, __m512* sum) {
  add_group_tokens<Format, kCount>(pair, 0, acts, at, ahead, sum);
  add_group_tokens<Format, kCount>(pair, 1, acts, at, ahead, sum);
  if constexpr (Format::kMin) {
    const __m512bh mins = load_mins<Format>(pair);
    asm volatile("" : : : "memory");
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      const ActGroup* a = reinterpret_cast<const ActGroup*>(acts[i] + at);
      sum[i] = _mm512_dpbf16_ps(sum[i], mins, (__m512bh)_mm512_set1_epi32(int32_t(a->sum_pair)));
    }
  }
}

template <class Format, int kCount>
static void multiply_tokens(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, Ahead ahead, float* out) {
  __m512 sum[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) sum[i] = _mm512_setzero_ps();
  const int64_t end = int64_t(sizeof(ActRow)) + num_pairs(cols) * 2 * int64_t(sizeof(ActGroup));
  for (int64_t at = sizeof(ActRow); at < end; panel += Format::kBlockBytes) {
#pragma GCC unroll 1
    for (int i = 0; i < Format::kBlockPairs; ++i, at += 2 * sizeof(ActGroup)) {
      add_pair_tokens<Format, kCount>({panel, panel + Format::kHeaderBytes + i * Format::kPairBytes}, acts, at, ahead,
                                      sum);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    const __m512 unit = _mm512_set1_ps(reinterpret_cast<const ActRow*>(acts[i])->unit);
    _mm512_store_ps(out + i * kPanelRows, _mm512_mul_ps(sum[i], unit));
  }
}

template <class Format, int kCount = kTokenBlock>
static void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead ahead,
                     float* out) {
  if (count == kCount) return multiply_tokens<Format, kCount>(panel, cols, acts, ahead, out);
  if constexpr (kCount > 1) multiply<Format, kCount - 1>(panel, cols, acts, count, ahead, out);
}

// Reduces the quarters of four vectors: quarter i of the result is that of x[i].
template <class Reduce>
SL_INLINE __m512i reduce_quarters(__m512i x0, __m512i x1, __m512i x2, __m512i x3, Reduce reduce) {
  const __m512i a = reduce(_mm512_shuffle_i32x4(x0, x1, 0x44), _mm512_shuffle_i32x4(x0, x1, 0xee));
  const __m512i b = reduce(_mm512_shuffle_i32x4(x2, x3, 0x44), _mm512_shuffle_i32x4(x2, x3, 0xee));
  return reduce(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

// Lane i of the result is the largest lane of x[i], of sixteen.
SL_INLINE __m512 largest_lanes(const __m512* x) {
  const auto larger = [](__m512i a, __m512i b) {
    return _mm512_castps_si512(_mm512_max_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
  };
  const auto bits = [&](int i) { return _mm512_castps_si512(x[i]); };
  __m512i t[4];  // quarter i of t[q] is of x[4i + q]
  for (int q = 0; q < 4; ++q) t[q] = reduce_quarters(bits(q), bits(q + 4), bits(q + 8), bits(q + 12), larger);
  const __m512i a = larger(_mm512_unpacklo_epi32(t[0], t[1]), _mm512_unpackhi_epi32(t[0], t[1]));
  const __m512i b = larger(_mm512_unpacklo_epi32(t[2], t[3]), _mm512_unpackhi_epi32(t[2], t[3]));
  return _mm512_castsi512_ps(larger(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)));
}

// Activations rounded at once: the halves of their groups fill a vector.
constexpr int kAtOncePairs = 4, kAtOnce = 4 * kAtOncePairs;

// Rounds halves to int8. A half's weight is the smallest that leaves its q in range.
SL_INLINE void quantize_halves(const __m512* x, float unit, int pairs, ActGroup* group) {
  __m512 magnitude[kAtOnce];
  for (int i = 0; i < kAtOnce; ++i) magnitude[i] = _mm512_abs_ps(x[i]);
  const __m512 exact = _mm512_div_ps(largest_lanes(magnitude), _mm512_set1_ps(127 * unit));
  const __m512 weight = _mm512_min_ps(_mm512_roundscale_ps(exact, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC),
                                      _mm512_set1_ps(kMostWeight));
  const __mmask16 live = _mm512_cmp_ps_mask(weight, _mm512_setzero_ps(), _CMP_GT_OQ);
  alignas(64) float factor[kAtOnce];
  _mm512_store_ps(factor, _mm512_maskz_div_ps(live, _mm512_set1_ps(1), _mm512_mul_ps(weight, _mm512_set1_ps(unit))));
  __m512i q[kAtOncePairs], sums[kAtOncePairs];
  for (int p = 0; p < kAtOncePairs; ++p) {
    __m512i whole[4];
    for (int h = 0; h < 4; ++h) {
      whole[h] = _mm512_cvtps_epi32(_mm512_mul_ps(x[4 * p + h], _mm512_set1_ps(factor[4 * p + h])));
    }
    // Quarter j: columns 4j .. of both halves of the first group, then of the second.
    q[p] = _mm512_packs_epi16(_mm512_packs_epi32(whole[0], whole[1]), _mm512_packs_epi32(whole[2], whole[3]));
    sums[p] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), q[p]);
  }
  const auto add = [](__m512i a, __m512i b) { return _mm512_add_epi32(a, b); };
  alignas(64) int32_t of_halves[kAtOnce];
  _mm512_store_si512(of_halves, reduce_quarters(sums[0], sums[1], sums[2], sums[3], add));
  alignas(32) int16_t weights[kAtOnce];
  _mm256_store_si256(reinterpret_cast<__m256i*>(weights), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(weight)));
  const __m512i by_group = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  for (int p = 0; p < pairs; ++p) {
    const __m512i groups = _mm512_permutexvar_epi64(by_group, q[p]);
    for (int g = 0; g < 2; ++g, ++group) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(group->q),
                         g == 0 ? _mm512_castsi512_si256(groups) : _mm512_extracti64x4_epi64(groups, 1));
      const int half = 4 * p + 2 * g;
      __builtin_memcpy(group->weights, weights + half, sizeof(group->weights));
      finish_act_group(of_halves + half, g == 1, group);
    }
  }
}

SL_INLINE __m512 load_part(const float* x, int64_t left) {
  if (left >= kGroupHalf) return _mm512_loadu_ps(x);
  return _mm512_maskz_loadu_ps(__mmask16(left > 0 ? (1u << left) - 1 : 0), x);
}

void prepare(const float* x, int64_t cols, uint8_t* acts) {
  __m512 most[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (int64_t first = 0; first < cols; first += 2 * kGroupHalf) {
    for (int i = 0; i < 2; ++i) {
      const int64_t at = first + i * kGroupHalf;
      most[i] = _mm512_max_ps(most[i], _mm512_abs_ps(load_part(x + at, cols - at)));
    }
  }
  const float range = _mm512_reduce_max_ps(_mm512_max_ps(most[0], most[1]));
  const float unit = act_unit(range);
  reinterpret_cast<ActRow*>(acts)->unit = unit;
  ActGroup* group = act_groups(acts);
  const int64_t pairs = num_pairs(cols);
  for (int64_t first = 0; first < pairs; first += kAtOncePairs, group += 2 * kAtOncePairs) {
    __m512 part[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) {
      const int64_t at = first * kPairCols + i * kGroupHalf;
      part[i] = load_part(x + at, cols - at);
    }
    quantize_halves(part, unit, int(pairs - first < kAtOncePairs ? pairs - first : kAtOncePairs), group);
  }
}

}  // namespace

const GroupKernels kGroupKernelsAvx512 = {
    .multiply = {multiply<FormatU4>, multiply<FormatU4Min>, multiply<FormatI8>, multiply<FormatI8Min>,
                 multiply<FormatK4>, multiply<FormatK5>, multiply<FormatK6>},
    .prepare = prepare,
    .one_pass = true,
};

}  // namespace scalellm
