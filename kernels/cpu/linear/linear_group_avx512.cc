// Group-quantised panel kernels for AVX-512 with VNNI and BF16, and how activations are rounded there.
#include "cpu/linear/linear_group_avx512.h"

namespace scalellm {
namespace {

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

template <class Format>
constexpr MultiplyPanel kMultiply = multiply<Format, Mins::kPairs>;

}  // namespace

void prepare_avx512(const float* x, int64_t cols, uint8_t* acts) {
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

const GroupKernels kGroupKernelsAvx512 = {
    .multiply = {kMultiply<FormatU4>, kMultiply<FormatU4Min>, kMultiply<FormatI8>, kMultiply<FormatI8Min>,
                 kMultiply<FormatK4>, kMultiply<FormatK5>, kMultiply<FormatK6>},
    .token_block = kTokenBlock,
    .prepare = prepare_avx512,
    .one_pass_tokens = kMostTokens,
};

}  // namespace scalellm
