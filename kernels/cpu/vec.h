// Sixteen float lanes with one meaning on every instruction set, so that the attention, norm, rope and sampling kernels
// are written once. A kernels_<isa>.cc file defines SL_VEC (the namespace) and one of SL_VEC_AVX512, SL_VEC_AVX2,
// SL_VEC_NEON or none, and then includes this and the *_kernel.h files. Everything here is static: code compiled for
// one instruction set must never be merged with another's by the linker, which also rules out standard library
// templates in those files.
#pragma once
#ifndef SL_VEC
#error "define SL_VEC before including cpu/vec.h"
#endif
#include <stdint.h>
#include <string.h>

#if defined(SL_VEC_AVX512) || defined(SL_VEC_AVX2)
#include <immintrin.h>
#elif defined(SL_VEC_NEON)
#include <arm_neon.h>
#endif

#define SL_INLINE static inline __attribute__((always_inline))

namespace scalellm::SL_VEC {

constexpr int kLanes = 16;

SL_INLINE uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}
SL_INLINE float bits_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

#if defined(SL_VEC_AVX512)
struct V {
  __m512 v;
};
SL_INLINE V zero() {
  return {_mm512_setzero_ps()};
}
SL_INLINE V set1(float x) {
  return {_mm512_set1_ps(x)};
}
SL_INLINE V load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
SL_INLINE void store(float* p, V x) {
  _mm512_storeu_ps(p, x.v);
}
SL_INLINE V load_n(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)};
}
SL_INLINE void store_n(float* p, V x, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), x.v);
}
SL_INLINE V add(V a, V b) {
  return {_mm512_add_ps(a.v, b.v)};
}
SL_INLINE V sub(V a, V b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
SL_INLINE V mul(V a, V b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
SL_INLINE V div(V a, V b) {
  return {_mm512_div_ps(a.v, b.v)};
}
SL_INLINE V fma(V a, V b, V c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
// The larger lane; b where a is NaN.
SL_INLINE V max(V a, V b) {
  return {_mm512_max_ps(a.v, b.v)};
}
SL_INLINE V min(V a, V b) {
  return {_mm512_min_ps(a.v, b.v)};
}
SL_INLINE float sum(V x) {
  return _mm512_reduce_add_ps(x.v);
}
SL_INLINE float largest(V x) {
  return _mm512_reduce_max_ps(x.v);
}
// Bit i set where lane i of a is >= b, or > b; never for NaN.
SL_INLINE uint32_t at_least(V a, V b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ);
}
SL_INLINE uint32_t above(V a, V b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ);
}
// Lanes of a where the mask has a bit, of b elsewhere.
SL_INLINE V select(uint32_t mask, V a, V b) {
  return {_mm512_mask_blend_ps(static_cast<__mmask16>(mask), b.v, a.v)};
}
SL_INLINE V load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
SL_INLINE V load_bf16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
SL_INLINE void store_f16(uint16_t* p, V x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
SL_INLINE V load_i8(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
// round(x) and 2^n for whole n in -126..127.
SL_INLINE V nearest(V x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SL_INLINE V pow2(V n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
}

#elif defined(SL_VEC_AVX2)
struct V {
  __m256 lo, hi;
};
SL_INLINE V zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
SL_INLINE V set1(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
SL_INLINE V load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
SL_INLINE void store(float* p, V x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
SL_INLINE V load_n(const float* p, int n) {
  float buffer[kLanes] = {};
  memcpy(buffer, p, sizeof(float) * static_cast<size_t>(n));
  return load(buffer);
}
SL_INLINE void store_n(float* p, V x, int n) {
  float buffer[kLanes];
  store(buffer, x);
  memcpy(p, buffer, sizeof(float) * static_cast<size_t>(n));
}
SL_INLINE V add(V a, V b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
SL_INLINE V sub(V a, V b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
SL_INLINE V mul(V a, V b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
SL_INLINE V div(V a, V b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
SL_INLINE V fma(V a, V b, V c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
SL_INLINE V max(V a, V b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
SL_INLINE V min(V a, V b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
SL_INLINE float sum(V x) {
  const __m256 s = _mm256_add_ps(x.lo, x.hi);
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
SL_INLINE float largest(V x) {
  const __m256 s = _mm256_max_ps(x.lo, x.hi);
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
SL_INLINE uint32_t lane_bits(__m256 lo, __m256 hi) {
  return static_cast<uint32_t>(_mm256_movemask_ps(lo)) | static_cast<uint32_t>(_mm256_movemask_ps(hi)) << 8;
}
SL_INLINE uint32_t at_least(V a, V b) {
  return lane_bits(_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ));
}
SL_INLINE uint32_t above(V a, V b) {
  return lane_bits(_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ));
}
SL_INLINE __m256 lane_mask(uint32_t mask) {
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i chosen = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask)), bits);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(chosen, bits));
}
SL_INLINE V select(uint32_t mask, V a, V b) {
  return {_mm256_blendv_ps(b.lo, a.lo, lane_mask(mask)), _mm256_blendv_ps(b.hi, a.hi, lane_mask(mask >> 8))};
}
SL_INLINE V load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
SL_INLINE void store_f16(uint16_t* p, V x) {
  const __m128i lo = _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m128i hi = _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), lo);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), hi);
}
SL_INLINE __m256 widen_bf16(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
SL_INLINE V load_bf16(const uint16_t* p) {
  return {widen_bf16(p), widen_bf16(p + 8)};
}
SL_INLINE __m256 widen_i8(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
SL_INLINE V load_i8(const int8_t* p) {
  return {widen_i8(p), widen_i8(p + 8)};
}
SL_INLINE __m256 nearest8(__m256 x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
SL_INLINE V nearest(V x) {
  return {nearest8(x.lo), nearest8(x.hi)};
}
SL_INLINE __m256 pow2_8(__m256 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
SL_INLINE V pow2(V n) {
  return {pow2_8(n.lo), pow2_8(n.hi)};
}

#else  // NEON and portable: four quarters of four lanes
#if defined(SL_VEC_NEON)
typedef float32x4_t Q;
SL_INLINE Q quad_fma(Q a, Q b, Q c) {
  return vfmaq_f32(c, a, b);
}
#else
typedef float Q __attribute__((vector_size(16)));
SL_INLINE Q quad_fma(Q a, Q b, Q c) {
  return a * b + c;
}
#endif
struct V {
  Q q[4];
};
#define SL_EACH_QUAD(expression)                       \
  V out;                                               \
  for (int i = 0; i < 4; ++i) out.q[i] = (expression); \
  return out
SL_INLINE V set1(float x) {
  SL_EACH_QUAD((Q{x, x, x, x}));
}
SL_INLINE V zero() {
  return set1(0.0f);
}
SL_INLINE V load(const float* p) {
  V out;
  memcpy(&out, p, sizeof(out));
  return out;
}
SL_INLINE void store(float* p, V x) {
  memcpy(p, &x, sizeof(x));
}
SL_INLINE V load_n(const float* p, int n) {
  V out = zero();
  memcpy(&out, p, sizeof(float) * static_cast<size_t>(n));
  return out;
}
SL_INLINE void store_n(float* p, V x, int n) {
  memcpy(p, &x, sizeof(float) * static_cast<size_t>(n));
}
SL_INLINE V add(V a, V b) {
  SL_EACH_QUAD(a.q[i] + b.q[i]);
}
SL_INLINE V sub(V a, V b) {
  SL_EACH_QUAD(a.q[i] - b.q[i]);
}
SL_INLINE V mul(V a, V b) {
  SL_EACH_QUAD(a.q[i] * b.q[i]);
}
SL_INLINE V div(V a, V b) {
  SL_EACH_QUAD(a.q[i] / b.q[i]);
}
SL_INLINE V fma(V a, V b, V c) {
  SL_EACH_QUAD(quad_fma(a.q[i], b.q[i], c.q[i]));
}
SL_INLINE V max(V a, V b) {
  SL_EACH_QUAD(a.q[i] > b.q[i] ? a.q[i] : b.q[i]);
}
SL_INLINE V min(V a, V b) {
  SL_EACH_QUAD(a.q[i] < b.q[i] ? a.q[i] : b.q[i]);
}
SL_INLINE float sum(V x) {
  const Q s = (x.q[0] + x.q[1]) + (x.q[2] + x.q[3]);
  return (s[0] + s[2]) + (s[1] + s[3]);
}
SL_INLINE float largest(V x) {
  float best = x.q[0][0];
  for (int i = 1; i < kLanes; ++i) best = x.q[i / 4][i % 4] > best ? x.q[i / 4][i % 4] : best;
  return best;
}
SL_INLINE uint32_t at_least(V a, V b) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(a.q[i / 4][i % 4] >= b.q[i / 4][i % 4]) << i;
  return mask;
}
SL_INLINE uint32_t above(V a, V b) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(a.q[i / 4][i % 4] > b.q[i / 4][i % 4]) << i;
  return mask;
}
SL_INLINE V select(uint32_t mask, V a, V b) {
  for (int i = 0; i < kLanes; ++i) {
    if (!(mask >> i & 1)) a.q[i / 4][i % 4] = b.q[i / 4][i % 4];
  }
  return a;
}
SL_INLINE float f16_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, magnitude = h & 0x7fff;
  if (magnitude >= 0x7c00) return bits_float(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  // 2^112 moves the exponent's bias from 15 to 127 and normalises subnormals.
  return bits_float(sign | magnitude << 13) * 0x1p112f;
}
// Round to nearest, ties to even.
SL_INLINE uint16_t float_to_f16(float x) {
  const uint32_t bits = float_bits(x), magnitude = bits & 0x7fffffff;
  const uint32_t sign = bits >> 16 & 0x8000;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) {  // adding 0.5 leaves the rounded multiple of 2^-24 in the mantissa
    return static_cast<uint16_t>(sign | (float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000));
  }
  return static_cast<uint16_t>(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}
SL_INLINE void store_f16(uint16_t* p, V x) {
  for (int i = 0; i < kLanes; ++i) p[i] = float_to_f16(x.q[i / 4][i % 4]);
}
SL_INLINE V load_f16(const uint16_t* p) {
  V out;
  for (int i = 0; i < kLanes; ++i) out.q[i / 4][i % 4] = f16_to_float(p[i]);
  return out;
}
SL_INLINE V load_bf16(const uint16_t* p) {
  V out;
  for (int i = 0; i < kLanes; ++i) out.q[i / 4][i % 4] = bits_float(static_cast<uint32_t>(p[i]) << 16);
  return out;
}
SL_INLINE V load_i8(const int8_t* p) {
  V out;
  for (int i = 0; i < kLanes; ++i) out.q[i / 4][i % 4] = static_cast<float>(p[i]);
  return out;
}
SL_INLINE V nearest(V x) {
  const V magic = set1(0x1.8p23f);  // adding it leaves no fraction bits (|x| < 2^22)
  return sub(add(x, magic), magic);
}
SL_INLINE V pow2(V n) {
  V out;
  for (int i = 0; i < kLanes; ++i) {
    out.q[i / 4][i % 4] = bits_float(static_cast<uint32_t>(static_cast<int32_t>(n.q[i / 4][i % 4]) + 127) << 23);
  }
  return out;
}
#undef SL_EACH_QUAD
#endif

// Rounds to nearest, ties to even.
SL_INLINE uint16_t float_to_bf16(float x) {
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// e^x to about 2 ulp (Cephes expf: range reduction by ln 2 in two parts, a polynomial of degree 6). Exactly 1 at 0; 0
// below -87.3 and for NaN, so that a masked or broken score has no weight; x above 88.3 counts as 88.3.
SL_INLINE V exp(V x) {
  const V lowest = set1(-87.3f);
  const uint32_t live = above(x, lowest);
  x = min(max(x, lowest), set1(88.3f));
  const V n = nearest(mul(x, set1(1.44269504f)));
  V r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  V p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = add(fma(mul(r, r), p, r), set1(1.0f));
  return select(live, mul(p, pow2(n)), zero());
}

// The lane mask of positions first..first+15 that lie in [begin, end).
SL_INLINE uint32_t lanes_in(int first, int begin, int end) {
  const int from = begin - first, to = end - first;
  const uint32_t upto = to <= 0 ? 0u : to >= kLanes ? 0xffffu : (1u << to) - 1;
  const uint32_t below = from <= 0 ? 0u : from >= kLanes ? 0xffffu : (1u << from) - 1;
  return upto & ~below;
}

}  // namespace scalellm::SL_VEC
