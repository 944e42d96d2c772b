// Sixteen float lanes with one meaning on every instruction set, so that the attention, norm, rope and sampling kernels
// are written once. A kernels_<isa>.cc file defines SL_VEC (the namespace) and one of SL_VEC_AVX512, SL_VEC_AVX2,
// SL_VEC_NEON or none, and then includes this and the *_kernel.h files. Everything here is static (inline.h says why),
// which also rules out standard library templates in those files.
#pragma once
#ifndef SL_VEC
#error "define SL_VEC before including cpu/vec.h"
#endif
#include <stdint.h>
#include <string.h>

#include "cpu/inline.h"

namespace scalellm::SL_VEC {

constexpr int kLanes = 16;

SL_INLINE int smaller(int a, int b) {
  return a < b ? a : b;
}
SL_INLINE int larger(int a, int b) {
  return a > b ? a : b;
}

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

}  // namespace scalellm::SL_VEC

#if defined(SL_VEC_AVX512)
#include "cpu/vec_avx512.h"
#elif defined(SL_VEC_AVX2)
#include "cpu/vec_avx2.h"
#else
#include "cpu/vec_quads.h"
#endif

namespace scalellm::SL_VEC {

// Rounds to nearest, ties to even.
SL_INLINE uint16_t float_to_bf16(float x) {
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#if !defined(SL_VEC_AVX512)
SL_INLINE void store_bf16(uint16_t* p, V x) {
  float values[kLanes];
  store(values, x);
  for (int i = 0; i < kLanes; ++i) p[i] = float_to_bf16(values[i]);
}
// Sixteen pairs of bfloat16; vec_avx512.h says what the functions mean.
struct Pairs {
  V first, second;
};
SL_INLINE Pairs load_pairs(const uint32_t* p) {
  float first[kLanes], second[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    first[i] = bits_float(p[i] << 16);
    second[i] = bits_float(p[i] & 0xffff0000);
  }
  return {load(first), load(second)};
}
SL_INLINE Pairs set1_pairs(uint32_t pair) {
  return {set1(bits_float(pair << 16)), set1(bits_float(pair & 0xffff0000))};
}
SL_INLINE Pairs keep_pairs(Pairs x, uint32_t mask) {
  return {mask & 0xffff ? x.first : zero(), mask >> 16 ? x.second : zero()};
}
SL_INLINE V dot_pairs(Pairs a, Pairs b, V sum) {
  return fma(a.second, b.second, fma(a.first, b.first, sum));
}
#endif

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
  return select(live, mul_pow2(p, n), zero());
}

// e^x to 18 bits for what is rounded to bfloat16 (a polynomial of degree 4, minimax for the relative error of 2^f); 0
// below -87.3 and for NaN. x is at most 0.
SL_INLINE V exp_short(V x) {
  const V lowest = set1(-87.3f);
  const uint32_t live = above(x, lowest);
  x = mul(max(x, lowest), set1(1.44269504f));
  const V n = nearest(x), f = sub(x, n);
  V p = set1(0.00957010956f);
  p = fma(p, f, set1(0.0559178988f));
  p = fma(p, f, set1(0.2402474499f));
  p = fma(p, f, set1(0.6931218101f));
  p = fma(p, f, set1(0.9999992613f));
  return select(live, mul_pow2(p, n), zero());
}

// The lane mask of positions first..first+15 that lie in [begin, end).
SL_INLINE uint32_t lanes_in(int first, int begin, int end) {
  const int from = begin - first, to = end - first;
  const uint32_t upto = to <= 0 ? 0u : to >= kLanes ? 0xffffu : (1u << to) - 1;
  const uint32_t below = from <= 0 ? 0u : from >= kLanes ? 0xffffu : (1u << from) - 1;
  return upto & ~below;
}

}  // namespace scalellm::SL_VEC
