// Group-quantised panel kernels for AVX2.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds two products in 16 bits. Codes of 4 bits leave room for four
// such sums (8 * 15 * 127 < 2^15), so a half group is widened once. Signed codes of 8 bits leave room for one (2 * 128
// * 127 < 2^15): their magnitude meets activations that have taken their sign, and each sum is widened.
#include <immintrin.h>

#include "cpu/linear/linear_group_act.h"

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
  const uint8_t* scales = pair.data + g * Format::kScaleBytes;
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

// What is added to a sum of products of 8-bit codes.
template <class Format>
SL_INLINE __m256i rounding() {
  return Format::kHalves ? _mm256_setzero_si256() : _mm256_set1_epi32(kRound);
}

// The unsigned operands of eight rows by a group: load(j) makes `code`, by the first and the second rows of every four,
// act() what to multiply them with and start() the sums to begin with. From a panel's lines:
template <class Format>
struct PackedCodes {
  const uint8_t* lines;
  __m256i code[2];
  __m256i signed_code[2];

  SL_MEMBER void load(int j) {
    if constexpr (Format::kBits == 4) {
      const __m256i both = load_line(lines + 64 * j), low = _mm256_set1_epi8(15);
      code[0] = _mm256_and_si256(both, low);
      code[1] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
      return;
    }
    for (int k = 0; k < 2; ++k) {
      signed_code[k] = _mm256_xor_si256(load_line(lines + 64 * (2 * j + k)), _mm256_set1_epi8(-128));
      code[k] = _mm256_abs_epi8(signed_code[k]);
    }
  }
  SL_MEMBER __m256i act(__m256i act, int k) const {
    return Format::kBits == 4 ? act : _mm256_sign_epi8(act, signed_code[k]);
  }
  SL_MEMBER __m256i start(int) const { return rounding<Format>(); }
};

// Eight rows by some groups, unpacked once for many tokens. vpsignb takes a multiplier's place, so the signs of 8-bit
// codes are masks: an activation whose bits are all flipped is its negative less one, which `start` makes up for.
constexpr int kUnpackedGroups = 16;
template <class Format>
struct Unpacked {
  static constexpr int kSigned = Format::kBits == 8 ? kUnpackedGroups : 0;
  __m256i code[kUnpackedGroups][4][2];
  __m256i sign[kSigned + 1][4][2];
  __m256i start[kSigned + 1][2];
  GroupScales scales[kUnpackedGroups];
};

template <class Format>
struct UnpackedCodes {
  const Unpacked<Format>& from;
  int group;
  __m256i code[2];
  __m256i sign[2];

  SL_MEMBER void load(int j) {
    for (int k = 0; k < 2; ++k) {
      code[k] = from.code[group][j][k];
      if constexpr (Format::kBits == 8) sign[k] = from.sign[group][j][k];
    }
  }
  SL_MEMBER __m256i act(__m256i act, int k) const { return Format::kBits == 4 ? act : _mm256_xor_si256(act, sign[k]); }
  SL_MEMBER __m256i start(int k) const { return Format::kBits == 4 ? _mm256_setzero_si256() : from.start[group][k]; }
};

// Groups first, first + 1 .. of one half of a panel's rows.
template <class Format>
static void unpack(const uint8_t* panel, int64_t first, int count, int half, Unpacked<Format>* out) {
  for (int i = 0; i < count; ++i) {
    const int g = int((first + i) % 2);
    const Pair pair = pair_of<Format>(panel, (first + i) / 2);
    out->scales[i] = load_scales<Format>(pair, g, half);
    PackedCodes<Format> codes;
    codes.lines = codes_of<Format>(pair, g) + 32 * half;
    __m256i negative[2] = {};  // sums of the magnitudes of negative codes
    for (int j = 0; j < 4; ++j) {
      codes.load(j);
      for (int k = 0; k < 2; ++k) {
        out->code[i][j][k] = codes.code[k];
        if constexpr (Format::kBits == 8) {
          const __m256i sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), codes.signed_code[k]);
          const __m256i pairs = _mm256_maddubs_epi16(_mm256_and_si256(codes.code[k], sign), _mm256_set1_epi8(1));
          negative[k] = _mm256_add_epi16(negative[k], pairs);
          out->sign[i][j][k] = sign;
        }
      }
    }
    for (int k = 0; Format::kBits == 8 && k < 2; ++k) {
      const __m256i sums = _mm256_madd_epi16(negative[k], _mm256_set1_epi16(1));
      out->start[i][k] = _mm256_add_epi32(sums, rounding<Format>());
    }
  }
}

// Adds the products of line j with a token's activations to its sums. The asm keeps the compiler from turning the
// chains into trees, for which there are not enough registers.
template <class Format, class Codes>
SL_INLINE void add_products(const Codes& codes, __m256i act, int j, __m256i* dot) {
  for (int k = 0; k < 2; ++k) {
    const __m256i product = _mm256_maddubs_epi16(codes.code[k], codes.act(act, k));
    if constexpr (Format::kBits == 4) {
      dot[k] = j == 0 ? product : _mm256_add_epi16(dot[k], product);
    } else {
      dot[k] = _mm256_add_epi32(dot[k], _mm256_madd_epi16(product, _mm256_set1_epi16(1)));
    }
    asm("" : "+x"(dot[k]));
  }
}

// Products with a few tokens. The sums advance in step: the schedulers of Zen hold few instructions, and one chain
// after the other would wait for its own latencies.
template <class Format, int kTokens, class Codes>
SL_INLINE void dot_group(Codes codes, const ActGroup* const* a, __m256i (*dot)[2]) {
  for (int i = 0; i < kTokens; ++i) {
    for (int k = 0; k < 2; ++k) dot[i][k] = codes.start(k);
  }
  for (int j = 0; j < 4; ++j) {
    codes.load(j);
    for (int i = 0; i < kTokens; ++i) {
      add_products<Format>(codes, broadcast_halves(a[i]->q + 8 * j), j, dot[i]);
    }
  }
}

// A group by eight rows added to the sum of a token, from its products: first rows of every four and second.
template <class Format>
SL_INLINE __m256 add_dots(__m256 total, const __m256i* dot, const GroupScales& w, const ActGroup* a) {
  if constexpr (Format::kHalves) {
    const __m256 even = _mm256_cvtepi32_ps(dot[0]), odd = _mm256_cvtepi32_ps(dot[1]);
    const __m256 first = _mm256_mul_ps(_mm256_shuffle_ps(even, odd, 0x88), _mm256_set1_ps(a->scale[0]));
    const __m256 second = _mm256_mul_ps(_mm256_shuffle_ps(even, odd, 0xdd), _mm256_set1_ps(a->scale[1]));
    total = _mm256_fmadd_ps(second, w.scale[1], _mm256_fmadd_ps(first, w.scale[0], total));
  } else {
    __m256i halves;
    if constexpr (Format::kBits == 4) {
      halves = _mm256_hadd_epi16(dot[0], dot[1]);  // 16 * 15 * 127 fits
    } else {
      halves = _mm256_packs_epi32(_mm256_srai_epi32(dot[0], kDroppedBits), _mm256_srai_epi32(dot[1], kDroppedBits));
    }
    const __m256i both = _mm256_madd_epi16(halves, broadcast(a->weights));
    total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(both), w.scale[0], total);
  }
  if constexpr (Format::kMin || Format::kBits == 4) {
    total = _mm256_fmadd_ps(_mm256_set1_ps(a->sum), w.min, total);
  }
  return total;
}

// A group by eight rows added to the sums of a few tokens, whose groups are at acts[i] + at.
template <class Format, int kTokens, class Codes>
SL_INLINE void add_group(const Codes& codes, const GroupScales& w, const uint8_t* const* acts, int64_t at,
                         __m256* sums) {
  const ActGroup* a[kTokens];
  for (int i = 0; i < kTokens; ++i) a[i] = reinterpret_cast<const ActGroup*>(acts[i] + at);
  __m256i dot[kTokens][2];
  dot_group<Format, kTokens>(codes, a, dot);
  for (int i = 0; i < kTokens; ++i) {
    sums[i] = add_dots<Format>(sums[i], dot[i], w, a[i]);
  }
}

SL_INLINE void store_scaled(__m256 sum, const uint8_t* act, float* out) {
  _mm256_store_ps(out, _mm256_mul_ps(sum, _mm256_set1_ps(reinterpret_cast<const ActRow*>(act)->unit)));
}

// A lone token: all sixteen rows, so that there are as many sums in step as those of two tokens, and lines are read in
// their order.
template <class Format>
static void multiply_one(const uint8_t* panel, int64_t cols, const uint8_t* acts, Ahead ahead, float* out) {
  __m256 sum[2] = {};
  const ActGroup* a = act_groups(acts);
  for (int64_t p = 0; p < num_pairs(cols); ++p) {
    const Pair pair = pair_of<Format>(panel, p);
    for (int g = 0; g < 2; ++g, ++a) {
      fetch(ahead);
      GroupScales scales[2];
      PackedCodes<Format> codes[2];
      __m256i dot[2][2];
      for (int half = 0; half < 2; ++half) {
        scales[half] = load_scales<Format>(pair, g, half);
        codes[half].lines = codes_of<Format>(pair, g) + 32 * half;
        for (int k = 0; k < 2; ++k) dot[half][k] = codes[half].start(k);
      }
      for (int j = 0; j < 4; ++j) {
        const __m256i act = broadcast_halves(a->q + 8 * j);
        for (int half = 0; half < 2; ++half) {
          codes[half].load(j);
          add_products<Format>(codes[half], act, j, dot[half]);
        }
      }
      for (int half = 0; half < 2; ++half) sum[half] = add_dots<Format>(sum[half], dot[half], scales[half], a);
    }
  }
  for (int half = 0; half < 2; ++half) store_scaled(sum[half], acts, out + kHalfRows * half);
}

// Few tokens: eight rows after eight, for which the registers suffice; a panel's lines are in the nearest cache the
// second time.
template <class Format, int kTokens>
static void multiply_packed(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, Ahead ahead, float* out) {
  for (int half = 0; half < 2; ++half) {
    __m256 sum[kTokens] = {};
    int64_t at = sizeof(ActRow);
    for (int64_t p = 0; p < num_pairs(cols); ++p) {
      const Pair pair = pair_of<Format>(panel, p);
      for (int g = 0; g < 2; ++g, at += sizeof(ActGroup)) {
        fetch(ahead);
        PackedCodes<Format> codes;
        codes.lines = codes_of<Format>(pair, g) + 32 * half;
        add_group<Format, kTokens>(codes, load_scales<Format>(pair, g, half), acts, at, sum);
      }
    }
    for (int i = 0; i < kTokens; ++i) store_scaled(sum[i], acts[i], out + i * kPanelRows + kHalfRows * half);
  }
}

// Adds `count` unpacked groups to the sums of a few tokens, in out.
template <class Format, int kTokens>
static void add_unpacked(const Unpacked<Format>& from, int count, const uint8_t* const* acts, int64_t at, Ahead& ahead,
                         float* out) {
  __m256 sum[kTokens];
  for (int i = 0; i < kTokens; ++i) sum[i] = _mm256_load_ps(out + i * kPanelRows);
  for (int g = 0; g < count; ++g, at += sizeof(ActGroup)) {
    fetch(ahead);
    add_group<Format, kTokens>(UnpackedCodes<Format>{from, g, {}, {}}, from.scales[g], acts, at, sum);
  }
  for (int i = 0; i < kTokens; ++i) _mm256_store_ps(out + i * kPanelRows, sum[i]);
}

constexpr int kMaxTokens = 4;  // whose sums the registers hold

template <class Format, int kTokens = kMaxTokens>
static void add_unpacked_tokens(const Unpacked<Format>& from, int groups, const uint8_t* const* acts, int count,
                                int64_t at, Ahead& ahead, float* out) {
  for (; count >= kTokens; count -= kTokens, acts += kTokens, out += kTokens * kPanelRows) {
    add_unpacked<Format, kTokens>(from, groups, acts, at, ahead, out);
  }
  if constexpr (kTokens > 1) {
    if (count > 0) add_unpacked_tokens<Format, kTokens - 1>(from, groups, acts, count, at, ahead, out);
  }
}

template <class Format>
static void multiply_unpacked(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead ahead,
                              float* out) {
  __builtin_memset(out, 0, sizeof(float) * size_t(count * kPanelRows));
  const int64_t groups = 2 * num_pairs(cols);
  for (int64_t first = 0; first < groups; first += kUnpackedGroups) {
    const int here = int(groups - first < kUnpackedGroups ? groups - first : kUnpackedGroups);
    for (int half = 0; half < 2; ++half) {
      Unpacked<Format> unpacked;
      unpack(panel, first, here, half, &unpacked);
      const int64_t at = int64_t(sizeof(ActRow)) + first * int64_t(sizeof(ActGroup));
      add_unpacked_tokens<Format>(unpacked, here, acts, count, at, ahead, out + kHalfRows * half);
    }
  }
  for (int i = 0; i < count; ++i) {
    for (float* at = out + i * kPanelRows; at < out + (i + 1) * kPanelRows; at += kHalfRows) {
      store_scaled(_mm256_load_ps(at), acts[i], at);
    }
  }
}

template <class Format, int kTokens = kMaxTokens>
static void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead ahead,
                     float* out) {
  if constexpr (kTokens > 2) {
    if (count < kTokens) return multiply<Format, kTokens - 1>(panel, cols, acts, count, ahead, out);
  }
  if (count == 1) return multiply_one<Format>(panel, cols, acts[0], ahead, out);
  // Of all passes over the columns each fetches a part.
  const int passes = 2 * ((count + kMaxTokens - 1) / kMaxTokens);
  ahead.step = (ahead.step + passes - 1) / passes;
  if (count > kTokens) return multiply_unpacked<Format>(panel, cols, acts, count, ahead, out);
  multiply_packed<Format, kTokens>(panel, cols, acts, ahead, out);
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

// Lane i of the result is the largest lane of x[i], of eight.
SL_INLINE __m256 largest_lanes(const __m256* x) {
  __m256 two[4], four[2];
  for (int i = 0; i < 4; ++i) {
    two[i] = _mm256_max_ps(_mm256_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm256_unpackhi_ps(x[2 * i], x[2 * i + 1]));
  }
  for (int i = 0; i < 2; ++i) {
    const __m256d a = _mm256_castps_pd(two[2 * i]), b = _mm256_castps_pd(two[2 * i + 1]);
    four[i] = _mm256_max_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
  }
  return _mm256_max_ps(_mm256_permute2f128_ps(four[0], four[1], 0x20), _mm256_permute2f128_ps(four[0], four[1], 0x31));
}

// Activations rounded at once: the halves of their groups fill a vector.
constexpr int kAtOncePairs = 2, kAtOnce = 4 * kAtOncePairs;

// Rounds the halves at x to int8. A half's weight is the smallest that leaves its q in range.
SL_INLINE void quantize_halves(const float* x, float unit, int pairs, ActGroup* group) {
  __m256 magnitude[kAtOnce];
  for (int i = 0; i < kAtOnce; ++i) {
    magnitude[i] = abs_max(_mm256_loadu_ps(x + i * kGroupHalf), _mm256_loadu_ps(x + i * kGroupHalf + 8));
  }
  const __m256 exact = _mm256_div_ps(largest_lanes(magnitude), _mm256_set1_ps(127 * unit));
  const __m256 weight =
      _mm256_min_ps(_mm256_round_ps(exact, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC), _mm256_set1_ps(kMostWeight));
  const __m256 live = _mm256_cmp_ps(weight, _mm256_setzero_ps(), _CMP_GT_OQ);
  alignas(32) float factor[kAtOnce];
  _mm256_store_ps(factor,
                  _mm256_and_ps(live, _mm256_div_ps(_mm256_set1_ps(1), _mm256_mul_ps(weight, _mm256_set1_ps(unit)))));
  __m256i q[2 * kAtOncePairs], sums[2 * kAtOncePairs];
  for (int g = 0; g < 2 * kAtOncePairs; ++g) {
    __m256i words[2];
    for (int h = 0; h < 2; ++h) {
      const float* at = x + (2 * g + h) * kGroupHalf;
      const __m256 by = _mm256_set1_ps(factor[2 * g + h]);
      words[h] = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(at), by)),
                                    _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(at + 8), by)));
    }
    // Four columns of one half, four of the other.
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    q[g] = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words[0], words[1]), order);
    sums[g] = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q[g]), _mm256_set1_epi16(1));
  }
  __m256i two[kAtOncePairs];  // sums of two groups, each half's in two lanes
  for (int p = 0; p < kAtOncePairs; ++p) {
    const __m256i a = sums[2 * p], b = sums[2 * p + 1];
    two[p] = _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
  }
  alignas(32) int32_t of_halves[kAtOnce];
  _mm256_store_si256(reinterpret_cast<__m256i*>(of_halves),
                     _mm256_add_epi32(_mm256_permute2x128_si256(two[0], two[1], 0x20),
                                      _mm256_permute2x128_si256(two[0], two[1], 0x31)));
  alignas(16) int16_t weights[kAtOnce];
  const __m256i whole = _mm256_cvtps_epi32(weight);
  const __m256i narrow = _mm256_permute4x64_epi64(_mm256_packs_epi32(whole, whole), 0xd8);
  _mm_store_si128(reinterpret_cast<__m128i*>(weights), _mm256_castsi256_si128(narrow));
  for (int g = 0; g < 2 * pairs; ++g, ++group) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(group->q), q[g]);
    __builtin_memcpy(group->weights, weights + 2 * g, sizeof(group->weights));
    finish_act_group(of_halves + 2 * g, g % 2 == 1, group);
  }
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
  constexpr int64_t kCols = kAtOncePairs * kPairCols;
  for (int64_t first = 0; first < cols; first += kCols, group += 2 * kAtOncePairs) {
    if (cols - first >= kCols) {
      quantize_halves(x + first, unit, kAtOncePairs, group);
      continue;
    }
    float padded[kCols] = {};
    __builtin_memcpy(padded, x + first, sizeof(float) * size_t(cols - first));
    quantize_halves(padded, unit, int(num_pairs(cols - first)), group);
  }
}

}  // namespace

const GroupKernels kGroupKernelsAvx2 = {
    .multiply = {multiply<FormatU4>, multiply<FormatU4Min>, multiply<FormatI8>, multiply<FormatI8Min>,
                 multiply<FormatK4>, multiply<FormatK5>, multiply<FormatK6>},
    .token_block = kTokenBlock,
    .prepare = prepare,
    .one_pass_tokens = 1,
};

}  // namespace scalellm
