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
// Of both halves of a group.
SL_INLINE __m256i broadcast_halves(const void* p) {
  long long words;
  __builtin_memcpy(&words, p, 8);
  return _mm256_set1_epi64x(words);
}

SL_INLINE __m256 load_half(const uint8_t* p, int half) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p) + half));
}

// Where the parts of a pair are: its block's header and itself.
struct Pair {
  const uint8_t* header;
  const uint8_t* data;
};

// Scale of half h of group g (of the whole group where halves share one), for one register of rows.
template <class Format>
SL_INLINE __m256 load_scale(Pair pair, int g, int h, int half) {
  const uint8_t* scales = pair.data + Format::kScaleOffset + g * Format::kScaleBytes;
  if constexpr (!Format::kSuper) return load_half(scales, half);
  scales += (Format::kHalves ? kPanelRows * h : 0) + kHalfRows * half;
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(scales));
  const __m256i wide = Format::kHalves ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
  return _mm256_mul_ps(load_half(pair.header, half), _mm256_cvtepi32_ps(wide));
}

template <class Format>
SL_INLINE __m256 load_min(Pair pair, int g, int half) {
  const uint8_t* mins = pair.data + Format::kMinOffset + g * Format::kScaleBytes;
  if constexpr (!Format::kSuper) return load_half(mins, half);
  const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(mins + kHalfRows * half)));
  const __m256 d_min = _mm256_sub_ps(_mm256_setzero_ps(), load_half(pair.header + 32, half));
  return _mm256_mul_ps(d_min, _mm256_cvtepi32_ps(wide));
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

// One group by sixteen rows, ready to multiply: line j of the first and the second rows of every four, in halves.
struct GroupRows {
  __m256i low[2][4][2];
  __m256i high[2][4][2];  // the high digits of 8-bit codes
  __m256 scale[2][2];     // of the halves of the group
  __m256 min[2];          // 4-bit codes run without their zero, which joins the min
};

template <class Format>
SL_INLINE void load_rows(Pair pair, int g, GroupRows* out) {
  const uint8_t* lines = pair.data + g * Format::kCodeBytes;
  for (int half = 0; half < 2; ++half) {
    for (int j = 0; j < 4; ++j) {
      if constexpr (Format::kBits == 4) {
        const __m256i both = load_line(lines + 64 * j + 32 * half);
        out->low[half][j][0] = low_digit(both);
        out->low[half][j][1] = high_digit(both);
      } else {
        for (int i = 0; i < 2; ++i) {
          const __m256i code = load_line(lines + 64 * (2 * j + i) + 32 * half);
          out->low[half][j][i] = low_digit(code);
          out->high[half][j][i] = high_digit(code);
        }
      }
    }
    const __m256 scale = load_scale<Format>(pair, g, 0, half);
    out->scale[0][half] = scale;
    if constexpr (Format::kHalves) {
      out->scale[1][half] = load_scale<Format>(pair, g, 1, half);
    } else if constexpr (Format::kBits == 8) {
      out->scale[0][half] = _mm256_mul_ps(scale, _mm256_set1_ps(1 << kDroppedBits));
    }
    if constexpr (Format::kMin && Format::kBits == 4) {
      out->min[half] = load_min<Format>(pair, g, half);
    } else if constexpr (Format::kMin) {
      out->min[half] = _mm256_fmadd_ps(_mm256_set1_ps(Format::kZero), scale, load_min<Format>(pair, g, half));
    } else {
      out->min[half] = _mm256_mul_ps(_mm256_set1_ps(-8.0f), scale);
    }
  }
}

// A group's lines times `weight`, for a few tokens. The sums advance in step: the schedulers of Zen hold few
// instructions, and one chain after the other would wait for its own latencies.
template <int kTokens>
SL_INLINE void dot_digits(const __m256i (*codes)[2], const ActGroup* const* a, int16_t weight, __m256i (*dot)[2]) {
  for (int j = 0; j < 4; ++j) {
    const __m256i code[2] = {codes[j][0], codes[j][1]};
    for (int i = 0; i < kTokens; ++i) {
      const __m256i act = broadcast_halves(a[i]->q + 8 * j);
      for (int k = 0; k < 2; ++k) {
        const __m256i product = _mm256_maddubs_epi16(code[k], act);
        dot[i][k] = j == 0 ? product : _mm256_add_epi16(dot[i][k], product);
        // Keeps the compiler from turning the chains into trees, for which there are not enough registers.
        asm("" : "+x"(dot[i][k]));
      }
    }
  }
  for (int i = 0; i < kTokens; ++i) {
    for (int k = 0; k < 2; ++k) dot[i][k] = _mm256_madd_epi16(dot[i][k], _mm256_set1_epi16(weight));
  }
}

// A group by eight rows added to the sums of a few tokens.
template <class Format, int kTokens>
SL_INLINE void add_rows(const GroupRows& w, int half, const ActGroup* const* a, __m256 (*sums)[2]) {
  __m256i dot[kTokens][2];
  dot_digits<kTokens>(w.low[half], a, 1, dot);
  if constexpr (Format::kBits == 8) {
    __m256i high[kTokens][2];
    dot_digits<kTokens>(w.high[half], a, 16, high);
    for (int i = 0; i < kTokens; ++i) {
      __m256i start = _mm256_slli_epi32(broadcast_halves(a[i]->zero), 4);
      if constexpr (!Format::kHalves) start = _mm256_add_epi32(start, _mm256_set1_epi32(kRound));
      for (int k = 0; k < 2; ++k) {
        dot[i][k] = _mm256_add_epi32(start, _mm256_add_epi32(dot[i][k], high[i][k]));
        if constexpr (!Format::kHalves) dot[i][k] = _mm256_srai_epi32(dot[i][k], kDroppedBits);
      }
    }
  }
  for (int i = 0; i < kTokens; ++i) {
    __m256 total = sums[i][half];
    if constexpr (Format::kHalves) {
      const __m256 even = _mm256_cvtepi32_ps(dot[i][0]), odd = _mm256_cvtepi32_ps(dot[i][1]);
      const __m256 first = _mm256_mul_ps(_mm256_shuffle_ps(even, odd, 0x88), _mm256_set1_ps(a[i]->scale[0]));
      const __m256 second = _mm256_mul_ps(_mm256_shuffle_ps(even, odd, 0xdd), _mm256_set1_ps(a[i]->scale[1]));
      total = _mm256_fmadd_ps(second, w.scale[1][half], _mm256_fmadd_ps(first, w.scale[0][half], total));
    } else {
      // Of 4-bit codes without their zero, 16 * 15 * 127 fits in 16 bits, too.
      const __m256i both = _mm256_madd_epi16(_mm256_packs_epi32(dot[i][0], dot[i][1]), broadcast(a[i]->weights));
      total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(both), w.scale[0][half], total);
    }
    if constexpr (Format::kMin || Format::kBits == 4) {
      total = _mm256_fmadd_ps(_mm256_set1_ps(a[i]->sum), w.min[half], total);
    }
    sums[i][half] = total;
  }
}

template <class Format, int kTokens>
SL_INLINE void add_group(const GroupRows& w, const uint8_t* const* acts, int64_t at, __m256 (*sums)[2]) {
  const ActGroup* a[kTokens];
  for (int i = 0; i < kTokens; ++i) a[i] = reinterpret_cast<const ActGroup*>(acts[i] + at);
  for (int half = 0; half < 2; ++half) add_rows<Format, kTokens>(w, half, a, sums);
}

template <class Format, int kTokens>
static void multiply_tokens(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, bool fetch,
                            __m256 (*out)[2]) {
  __m256 sum[kTokens][2] = {};
  const int64_t end = int64_t(sizeof(ActRow)) + num_pairs(cols) * 2 * int64_t(sizeof(ActGroup));
  for (int64_t at = sizeof(ActRow); at < end; panel += Format::kBlockBytes) {
    for (int i = 0; i < Format::kBlockPairs; ++i) {
      const Pair pair = {panel, panel + Format::kHeaderBytes + i * Format::kPairBytes};
      for (int line = 0; fetch && line < Format::kPairBytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(pair.data + kPrefetchBytes + line), _MM_HINT_T0);
      }
      for (int g = 0; g < 2; ++g, at += sizeof(ActGroup)) {
        GroupRows w;
        load_rows<Format>(pair, g, &w);
        add_group<Format, kTokens>(w, acts, at, sum);
      }
    }
  }
  for (int i = 0; i < kTokens; ++i) {
    const __m256 unit = _mm256_set1_ps(reinterpret_cast<const ActRow*>(acts[i])->unit);
    for (int half = 0; half < 2; ++half) out[i][half] = _mm256_mul_ps(sum[i][half], unit);
  }
}

// Tokens at once: what the registers hold, and enough to pay for unpacking codes anew.
template <class Format>
constexpr int kMaxTokens = Format::kBits == 4 ? 4 : 2;

// The first pass over a panel fetches what lies ahead of it; more passes would only repeat that.
template <class Format, int kTokens = kMaxTokens<Format>>
static void multiply_rest(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, bool fetch,
                          float* out) {
  for (; count >= kTokens; count -= kTokens, acts += kTokens, out += kTokens * kPanelRows) {
    multiply_tokens<Format, kTokens>(panel, cols, acts, fetch, reinterpret_cast<__m256(*)[2]>(out));
    fetch = false;
  }
  if constexpr (kTokens > 1) {
    if (count > 0) multiply_rest<Format, kTokens - 1>(panel, cols, acts, count, fetch, out);
  }
}

template <class Format>
static void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, float* out) {
  multiply_rest<Format>(panel, cols, acts, count, count > 1, out);
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

// Rounds half h of a group to int8 and returns the sum of the integers. Its weight is the smallest that leaves them in
// range.
SL_INLINE int32_t quantize_half(const float* x, float unit, int h, ActGroup* group) {
  const __m256 x0 = _mm256_loadu_ps(x), x1 = _mm256_loadu_ps(x + 8);
  const float exact = largest(abs_max(x0, x1)) / (127 * unit);
  const float weight =
      exact < kMostWeight ? _mm_cvtss_f32(_mm_ceil_ss(_mm_setzero_ps(), _mm_set_ss(exact))) : kMostWeight;
  group->weights[h] = int16_t(weight);
  const __m256 factor = _mm256_set1_ps(weight > 0 ? 1 / (weight * unit) : 0.0f);
  const __m256i q0 = _mm256_cvtps_epi32(_mm256_mul_ps(x0, factor)), q1 = _mm256_cvtps_epi32(_mm256_mul_ps(x1, factor));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(q0, q1), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  alignas(16) int32_t fours[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(fours), bytes);
  for (int j = 0; j < 4; ++j) __builtin_memcpy(group->q + 8 * j + 4 * h, fours + j, 4);
  const __m256i both = _mm256_add_epi32(q0, q1);
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

void prepare(const float* x, int64_t cols, uint8_t* acts) {
  __m256 most = _mm256_setzero_ps();
  int64_t whole = 0;
  for (; whole + 8 <= cols; whole += 8) most = abs_max(most, _mm256_loadu_ps(x + whole));
  float range = largest(most);
  for (; whole < cols; ++whole) range = x[whole] > range ? x[whole] : -x[whole] > range ? -x[whole] : range;
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

}  // namespace

const GroupKernels kGroupKernelsAvx2 = {
    {multiply<FormatU4>, multiply<FormatU4Min>, multiply<FormatI8>, multiply<FormatI8Min>, multiply<FormatK4>,
     multiply<FormatK5>, multiply<FormatK6>},
    prepare,
};

}  // namespace scalellm
