// Sixteen lanes in one AVX-512 register; included by vec.h.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace scalellm::SL_VEC {

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
SL_INLINE void store_bf16(uint16_t* p, V x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(x.v));
}
// Sixteen pairs of bfloat16, the first of each in the low half.
struct Pairs {
  __m512i v;
};
SL_INLINE Pairs load_pairs(const uint32_t* p) {
  return {_mm512_loadu_si512(p)};
}
SL_INLINE Pairs set1_pairs(uint32_t pair) {
  return {_mm512_set1_epi32(static_cast<int32_t>(pair))};
}
// The halves of every pair whose bits are set in the mask; zero elsewhere.
SL_INLINE Pairs keep_pairs(Pairs x, uint32_t mask) {
  return {_mm512_and_si512(x.v, _mm512_set1_epi32(static_cast<int32_t>(mask)))};
}
// sum + a.first * b.first + a.second * b.second in every lane.
SL_INLINE V dot_pairs(Pairs a, Pairs b, V sum) {
  return {_mm512_dpbf16_ps(sum.v, (__m512bh)a.v, (__m512bh)b.v)};
}
SL_INLINE V load_i8(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
// round(x), and x 2^n for whole n in -126..127.
SL_INLINE V nearest(V x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SL_INLINE V mul_pow2(V x, V n) {
  return {_mm512_scalef_ps(x.v, n.v)};
}

}  // namespace scalellm::SL_VEC
