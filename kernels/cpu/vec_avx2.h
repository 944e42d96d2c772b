// Sixteen lanes in two AVX2 registers; included by vec.h.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace scalellm::SL_VEC {

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
// A whole vector is the common case, and without a call.
SL_INLINE V load_n(const float* p, int n) {
  if (n == kLanes) return load(p);
  float buffer[kLanes] = {};
  memcpy(buffer, p, sizeof(float) * static_cast<size_t>(n));
  return load(buffer);
}
SL_INLINE void store_n(float* p, V x, int n) {
  if (n == kLanes) return store(p, x);
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
SL_INLINE V mul_pow2(V x, V n) {
  return {_mm256_mul_ps(x.lo, pow2_8(n.lo)), _mm256_mul_ps(x.hi, pow2_8(n.hi))};
}

}  // namespace scalellm::SL_VEC
