// Sixteen lanes in four quarters of four, for NEON and for any machine; included by vec.h.
#pragma once
#include <stdint.h>
#include <string.h>
#if defined(SL_VEC_NEON)
#include <arm_neon.h>
#endif

namespace scalellm::SL_VEC {

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
  if (n == kLanes) return load(p);
  V out = zero();
  memcpy(&out, p, sizeof(float) * static_cast<size_t>(n));
  return out;
}
SL_INLINE void store_n(float* p, V x, int n) {
  if (n == kLanes) return store(p, x);
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
#if defined(SL_VEC_NEON)
SL_INLINE void store_f16(uint16_t* p, V x) {
  for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.q[i])));
}
SL_INLINE V load_f16(const uint16_t* p) {
  SL_EACH_QUAD(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}
SL_INLINE V load_bf16(const uint16_t* p) {
  SL_EACH_QUAD(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
SL_INLINE V load_i8(const int8_t* p) {
  const int8x16_t bytes = vld1q_s8(p);
  const int16x8_t words[2] = {vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes))};
  SL_EACH_QUAD(vcvtq_f32_s32(vmovl_s16(i % 2 ? vget_high_s16(words[i / 2]) : vget_low_s16(words[i / 2]))));
}
#else
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
#endif
SL_INLINE V nearest(V x) {
  const V magic = set1(0x1.8p23f);  // adding it leaves no fraction bits (|x| < 2^22)
  return sub(add(x, magic), magic);
}
SL_INLINE V mul_pow2(V x, V n) {
  V out;
  for (int i = 0; i < kLanes; ++i) {
    out.q[i / 4][i % 4] = bits_float(static_cast<uint32_t>(static_cast<int32_t>(n.q[i / 4][i % 4]) + 127) << 23);
  }
  return mul(x, out);
}
#undef SL_EACH_QUAD

}  // namespace scalellm::SL_VEC
