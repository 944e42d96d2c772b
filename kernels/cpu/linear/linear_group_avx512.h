// Group-quantised panel kernels for AVX-512 with VNNI and BF16, for the including file's instruction set.
//
// On Zen 4 vpdpbusd, vpmaddwd, float multiplies and fused multiply-adds share two 256-bit pipes, so a group of 16 rows
// and 32 columns costs 8 + 2 issues a token, 10.5 with a min, and the peak of this file is 8 / 10.5 of vpdpbusd's.
// Everything else (conversions, integer and logical operations) runs beside them on the other two pipes. The schedulers
// hold some 64 instructions, less than two tokens' chains of products: tokens advance in step, two at a time.
#pragma once
#include <immintrin.h>

#include "cpu/linear/linear_group.h"

namespace scalellm {

// Quantises one token's float32[cols].
void prepare_avx512(const float* x, int64_t cols, uint8_t* acts);

namespace {

// How mins meet the sums of a token's groups: two groups at once in bfloat16, or each in float32, where processors take
// longer for a vdpbf16ps than for two multiply-adds (Intel's: 0.60 and 0.32 ns; Zen 4 0.32 and 0.64).
enum class Mins { kPairs, kGroups };

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
  const uint8_t* scales = pair.data + g * Format::kScaleBytes;
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

// min + zero * scale of a group.
template <class Format>
SL_INLINE __m512 load_moved_min(Pair pair, int g) {
  return _mm512_fmadd_ps(_mm512_set1_ps(Format::kZero), load_scale<Format>(pair, g, 0), load_min<Format>(pair, g));
}

// Of both groups of a pair as bfloat16, rounded to nearest.
template <class Format>
SL_INLINE __m512bh load_moved_mins(Pair pair) {
  const __m512i round = _mm512_set1_epi32(0x8000);
  const __m512i bits[2] = {_mm512_castps_si512(load_moved_min<Format>(pair, 0)),
                           _mm512_castps_si512(load_moved_min<Format>(pair, 1))};
  const __m512i first = _mm512_srli_epi32(_mm512_add_epi32(bits[0], round), 16);
  return (__m512bh)_mm512_mask_blend_epi16(0xaaaaaaaa, first, _mm512_add_epi32(bits[1], round));
}

// What the products of a group, or those of its halves, are multiplied with.
template <class Format>
SL_INLINE void load_scales(Pair pair, int g, __m512* scale) {
  scale[0] = load_scale<Format>(pair, g, 0);
  if constexpr (Format::kHalves) {
    scale[1] = load_scale<Format>(pair, g, 1);
  } else if constexpr (Format::kBits == 8) {
    scale[0] = _mm512_mul_ps(scale[0], _mm512_set1_ps(1 << kDroppedBits));
  }
}

// What sums of products of 8-bit codes begin with, beside the zero of the codes.
template <class Format>
constexpr int32_t kRounding = Format::kBits == 8 && !Format::kHalves ? kRound : 0;

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
    if constexpr (kRounding<Format> != 0) start = _mm512_add_epi32(start, _mm512_set1_epi32(kRounding<Format>));
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
template <class Format, Mins kMins, int kCount>
SL_INLINE void add_group_tokens(Pair pair, int g, const uint8_t* const* acts, int64_t at, Ahead& ahead, __m512* sum) {
  fetch(ahead);
  __m512 scale[2];
  load_scales<Format>(pair, g, scale);
  constexpr bool kMinHere = Format::kMin && kMins == Mins::kGroups;
  [[maybe_unused]] __m512 min;
  if constexpr (kMinHere) {
    min = load_moved_min<Format>(pair, g);
    if constexpr (kCount == 1) asm volatile("" : "+v"(min));  // in the order of the lines
  }
  __m512i codes[4][2];
  load_codes<Format>(codes_of<Format>(pair, g), codes);
  // Pointers to tokens are read where they are used: the compiler would keep them in vector registers.
  asm volatile("" : : : "memory");
  constexpr int kInStep = 2;
  at += g * int64_t(sizeof(ActGroup));
#pragma GCC unroll 16
  for (int i = 0; i + kInStep <= kCount; i += kInStep) {
    add_group<Format, kInStep>(codes, scale, acts + i, at, sum + i);
  }
  if constexpr (kCount % kInStep != 0) add_group<Format, 1>(codes, scale, acts + kCount - 1, at, sum + kCount - 1);
  if constexpr (kMinHere) {
    asm volatile("" : : : "memory");
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      const ActGroup* a = reinterpret_cast<const ActGroup*>(acts[i] + at);
      sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(a->sum), min, sum[i]);
    }
  }
}

template <class Format, Mins kMins, int kCount>
SL_INLINE void add_pair_tokens(Pair pair, const uint8_t* const* acts, int64_t at, Ahead& ahead, __m512* sum) {
  [[maybe_unused]] __m512bh mins;
  constexpr bool kMinsAtOnce = Format::kMin && kMins == Mins::kPairs;
  if constexpr (kMinsAtOnce) {
    mins = load_moved_mins<Format>(pair);
    if constexpr (kCount == 1) asm volatile("" : "+v"(mins));  // in the order of the lines
  }
  add_group_tokens<Format, kMins, kCount>(pair, 0, acts, at, ahead, sum);
  add_group_tokens<Format, kMins, kCount>(pair, 1, acts, at, ahead, sum);
  if constexpr (kMinsAtOnce) {
    asm volatile("" : : : "memory");
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      const ActGroup* a = reinterpret_cast<const ActGroup*>(acts[i] + at);
      sum[i] = _mm512_dpbf16_ps(sum[i], mins, (__m512bh)_mm512_set1_epi32(int32_t(a->sum_pair)));
    }
  }
}

template <class Format, Mins kMins, int kCount>
static void multiply_tokens(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, Ahead ahead, float* out) {
  __m512 sum[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) sum[i] = _mm512_setzero_ps();
  const int64_t end = int64_t(sizeof(ActRow)) + num_pairs(cols) * 2 * int64_t(sizeof(ActGroup));
  for (int64_t at = sizeof(ActRow); at < end; panel += Format::kBlockBytes) {
#pragma GCC unroll 1
    for (int i = 0; i < Format::kBlockPairs; ++i, at += 2 * sizeof(ActGroup)) {
      add_pair_tokens<Format, kMins, kCount>({panel, panel + Format::kHeaderBytes + i * Format::kPairBytes}, acts, at,
                                             ahead, sum);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
    const __m512 unit = _mm512_set1_ps(reinterpret_cast<const ActRow*>(acts[i])->unit);
    _mm512_store_ps(out + i * kPanelRows, _mm512_mul_ps(sum[i], unit));
  }
}

// A MultiplyPanel.
template <class Format, Mins kMins, int kCount = kTokenBlock>
static void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead ahead,
                     float* out) {
  if (count == kCount) return multiply_tokens<Format, kMins, kCount>(panel, cols, acts, ahead, out);
  if constexpr (kCount > 1) multiply<Format, kMins, kCount - 1>(panel, cols, acts, count, ahead, out);
}

}  // namespace
}  // namespace scalellm
