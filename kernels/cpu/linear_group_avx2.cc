// Group-quantised panel kernels for AVX2.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds two products in 16 bits. Codes of 4 bits leave room for four
// such sums (8 * 15 * 127 < 2^15), so a half group is widened once. Signed codes of 8 bits leave room for one (2 * 128
// * 127 < 2^15): their magnitude meets activations that have taken their sign, and each sum is widened.
#include <immintrin.h>

#include "cpu/linear_group_act.h"

namespace scalellm {
namespace {

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

// The scales of a group by eight rows; 4-bit codes run without their zero, which joins the min.
struct GroupScales {
  __m256 scale[2];  // of the halves of the group
  __m256 min;
};

template <class Format>
SL_INLINE GroupScales load_scales(Pair pair, int g, int half) {
  GroupScales out;
  const __m256 scale = load_scale<Format>(pair, g, 0, half);
  out.scale[0] = out.scale[1] = scale;
  if constexpr (Format::kHalves) {
    out.scale[1] = load_scale<Format>(pair, g, 1, half);
  } else if constexpr (Format::kBits == 8) {
    out.scale[0] = _mm256_mul_ps(scale, _mm256_set1_ps(1 << kDroppedBits));
  }
  if constexpr (Format::kMin && Format::kBits == 4) {
    out.min = load_min<Format>(pair, g, half);
  } else if constexpr (Format::kMin) {
    out.min = _mm256_fmadd_ps(_mm256_set1_ps(Format::kZero), scale, load_min<Format>(pair, g, half));
  } else {
    out.min = _mm256_mul_ps(_mm256_set1_ps(-8.0f), scale);
  }
  return out;
}

// Codes by the first and the second rows of every four, times a few tokens. The sums advance in step: the schedulers of
// Zen hold few instructions, and one chain after the other would wait for its own latencies. The asm keeps the compiler
// from turning the chains into trees, for which there are not enough registers.
template <int kTokens>
SL_INLINE void dot_nibbles(const uint8_t* lines, const ActGroup* const* a, __m256i (*dot)[2]) {
  for (int j = 0; j < 4; ++j) {
    const __m256i both = load_line(lines + 64 * j);
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i code[2] = {_mm256_and_si256(both, low), _mm256_and_si256(_mm256_srli_epi16(both, 4), low)};
    for (int i = 0; i < kTokens; ++i) {
      const __m256i act = broadcast_halves(a[i]->q + 8 * j);
      for (int k = 0; k < 2; ++k) {
        const __m256i product = _mm256_maddubs_epi16(code[k], act);
        dot[i][k] = j == 0 ? product : _mm256_add_epi16(dot[i][k], product);
        asm("" : "+x"(dot[i][k]));
      }
    }
  }
}

template <int kTokens>
SL_INLINE void dot_bytes(const uint8_t* lines, const ActGroup* const* a, __m256i start, __m256i (*dot)[2]) {
  for (int i = 0; i < kTokens; ++i) dot[i][0] = dot[i][1] = start;
  for (int j = 0; j < 4; ++j) {
    __m256i code[2], magnitude[2];
    for (int k = 0; k < 2; ++k) {
      code[k] = _mm256_xor_si256(load_line(lines + 64 * (2 * j + k)), _mm256_set1_epi8(-128));
      magnitude[k] = _mm256_abs_epi8(code[k]);
    }
    for (int i = 0; i < kTokens; ++i) {
      const __m256i act = broadcast_halves(a[i]->q + 8 * j);
      for (int k = 0; k < 2; ++k) {
        const __m256i product = _mm256_maddubs_epi16(magnitude[k], _mm256_sign_epi8(act, code[k]));
        dot[i][k] = _mm256_add_epi32(dot[i][k], _mm256_madd_epi16(product, _mm256_set1_epi16(1)));
        asm("" : "+x"(dot[i][k]));
      }
    }
  }
}

// A group by eight rows added to the sums of a few tokens.
template <class Format, int kTokens>
SL_INLINE void add_group(const uint8_t* lines, const GroupScales& w, const uint8_t* const* acts, int64_t at,
                         __m256* sums) {
  const ActGroup* a[kTokens];
  for (int i = 0; i < kTokens; ++i) a[i] = reinterpret_cast<const ActGroup*>(acts[i] + at);
  __m256i dot[kTokens][2];
  if constexpr (Format::kBits == 4) {
    dot_nibbles<kTokens>(lines, a, dot);
  } else if constexpr (Format::kHalves) {
    dot_bytes<kTokens>(lines, a, _mm256_setzero_si256(), dot);
  } else {
    dot_bytes<kTokens>(lines, a, _mm256_set1_epi32(kRound), dot);
    for (auto& token : dot) {
      for (__m256i& x : token) x = _mm256_srai_epi32(x, kDroppedBits);
    }
  }
  for (int i = 0; i < kTokens; ++i) {
    __m256 total = sums[i];
    if constexpr (Format::kHalves) {
      const __m256 even = _mm256_cvtepi32_ps(dot[i][0]), odd = _mm256_cvtepi32_ps(dot[i][1]);
      const __m256 first = _mm256_mul_ps(_mm256_shuffle_ps(even, odd, 0x88), _mm256_set1_ps(a[i]->scale[0]));
      const __m256 second = _mm256_mul_ps(_mm256_shuffle_ps(even, odd, 0xdd), _mm256_set1_ps(a[i]->scale[1]));
      total = _mm256_fmadd_ps(second, w.scale[1], _mm256_fmadd_ps(first, w.scale[0], total));
    } else {
      // Of 4-bit codes without their zero, 16 * 15 * 127 fits in 16 bits, too.
      const __m256i packed = Format::kBits == 4 ? _mm256_hadd_epi16(dot[i][0], dot[i][1])
                                                : _mm256_packs_epi32(dot[i][0], dot[i][1]);
      const __m256i both = _mm256_madd_epi16(packed, broadcast(a[i]->weights));
      total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(both), w.scale[0], total);
    }
    if constexpr (Format::kMin || Format::kBits == 4) {
      total = _mm256_fmadd_ps(_mm256_set1_ps(a[i]->sum), w.min, total);
    }
    sums[i] = total;
  }
}

// Eight rows after eight, for which the registers suffice; a panel's lines are in the nearest cache the second time.
template <class Format, int kTokens>
static void multiply_tokens(const uint8_t* first_block, int64_t cols, const uint8_t* const* acts, Ahead& ahead,
                            float* out) {
  const int64_t end = int64_t(sizeof(ActRow)) + num_pairs(cols) * 2 * int64_t(sizeof(ActGroup));
  for (int half = 0; half < 2; ++half) {
    __m256 sum[kTokens] = {};
    const uint8_t* block = first_block;
    for (int64_t at = sizeof(ActRow); at < end; block += Format::kBlockBytes) {
      for (int i = 0; i < Format::kBlockPairs; ++i) {
        const Pair pair = {block, block + Format::kHeaderBytes + i * Format::kPairBytes};
        for (int g = 0; g < 2; ++g, at += sizeof(ActGroup)) {
          fetch(ahead);
          const GroupScales scales = load_scales<Format>(pair, g, half);
          add_group<Format, kTokens>(pair.data + g * Format::kCodeBytes + 32 * half, scales, acts, at, sum);
        }
      }
    }
    for (int i = 0; i < kTokens; ++i) {
      const __m256 unit = _mm256_set1_ps(reinterpret_cast<const ActRow*>(acts[i])->unit);
      _mm256_store_ps(out + i * kPanelRows + kHalfRows * half, _mm256_mul_ps(sum[i], unit));
    }
  }
}

// Tokens at once: what the registers hold, and enough to pay for unpacking codes anew.
constexpr int kMaxTokens = 4;

template <class Format, int kTokens = kMaxTokens>
static void multiply_rest(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead& ahead,
                          float* out) {
  for (; count >= kTokens; count -= kTokens, acts += kTokens, out += kTokens * kPanelRows) {
    multiply_tokens<Format, kTokens>(panel, cols, acts, ahead, out);
  }
  if constexpr (kTokens > 1) {
    if (count > 0) multiply_rest<Format, kTokens - 1>(panel, cols, acts, count, ahead, out);
  }
}

template <class Format>
static void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead ahead,
                     float* out) {
  // Of all passes over the columns each fetches a part.
  const int passes = 2 * ((count + kMaxTokens - 1) / kMaxTokens);
  ahead.step = (ahead.step + passes - 1) / passes;
  multiply_rest<Format>(panel, cols, acts, count, ahead, out);
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

// Rounds half h of a group to int8 and returns the sum of the integers.
static inline int32_t quantize_half(const float* x, float unit, int h, ActGroup* group) {
  const __m256 x0 = _mm256_loadu_ps(x), x1 = _mm256_loadu_ps(x + 8);
  const __m256 factor = _mm256_set1_ps(weigh_half(largest(abs_max(x0, x1)), unit, h, group));
  const __m256i q0 = _mm256_cvtps_epi32(_mm256_mul_ps(x0, factor)), q1 = _mm256_cvtps_epi32(_mm256_mul_ps(x1, factor));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(q0, q1), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  alignas(16) int8_t q[kGroupHalf];
  _mm_store_si128(reinterpret_cast<__m128i*>(q), bytes);
  place_half(q, h, group);
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
  prepare_halves(x, cols, range, acts, quantize_half);
}

}  // namespace

const GroupKernels kGroupKernelsAvx2 = {
    {multiply<FormatU4>, multiply<FormatU4Min>, multiply<FormatI8>, multiply<FormatI8Min>, multiply<FormatK4>,
     multiply<FormatK5>, multiply<FormatK6>},
    prepare,
};

}  // namespace scalellm
