// Storage types of weights: sizes, small-float conversions, and the exact float32 values of stored rows.
#pragma once
#include <cstdint>
#include <cstring>

namespace scalellm {

// Values in one block of a dtype (1 for the float types), and the bytes a block takes. block_values is 0 for a dtype
// this build does not know.
struct BlockShape {
  int values = 0;
  int bytes = 0;
};
BlockShape block_shape(int32_t dtype);

// Bytes of `values` consecutive values; -1 when they are not whole blocks or the dtype is unknown.
int64_t stored_bytes(int32_t dtype, int64_t values);

// Dequantises `values` (whole blocks) from src, which may be unaligned, without further scales.
void dequantize(int32_t dtype, const uint8_t* src, int64_t values, float* out);

// The integers behind a quantised row, one normal form for every GGUF type: value = scale * code + min, a scale and a
// min for every 16 values. scale and min are rounded once to float32 where the format has a product of two numbers.
struct Codes {
  uint8_t* code;  // [values]
  float* scale;   // [values / 16]
  float* min;     // [values / 16]
};
void decode_codes(int32_t dtype, const uint8_t* src, int64_t values, const Codes& out);

// The scales of a K type's super-block of 256 values: value = d * scale[group] * code - d_min * min[group], groups of
// 32, for Q4_K and Q5_K; value = d * scale[group] * (code - 32), groups of 16, signed scales, for Q6_K.
struct SuperScales {
  uint16_t d, d_min;  // binary16
  uint8_t scale[16], min[8];
};
void read_super_scales(int32_t dtype, const uint8_t* block, SuperScales* out);

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

inline float bf16_to_float(uint16_t value) {
  return bits_to_float(uint32_t{value} << 16);
}

// Rounds to nearest, ties to even. NaN stays NaN.
inline uint16_t float_to_bf16(float value) {
  uint32_t bits = float_to_bits(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t((bits >> 16) | 0x40);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float f16_to_float(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return bits_to_float(sign | 0x7f800000 | ((magnitude & 0x3ff) << 13));
  // Shifting moves exponent and mantissa into float32's fields; the product corrects the bias, subnormals included.
  return bits_to_float(sign | float_to_bits(bits_to_float(magnitude << 13) * 0x1p112f));
}

// Rounds to nearest, ties to even; overflow becomes infinity.
inline uint16_t float_to_f16(float value) {
  const uint32_t bits = float_to_bits(value);
  const uint16_t sign = uint16_t((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits of the mantissa.
    return sign | uint16_t(float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000);
  }
  return sign | uint16_t((magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13);
}

// OCP 8-bit float e4m3fn: no infinities, 0x7f and 0xff are NaN.
inline float f8_e4m3_to_float(uint8_t value) {
  const uint32_t sign = uint32_t(value & 0x80) << 24;
  const uint32_t magnitude = value & 0x7f;
  if (magnitude == 0x7f) return bits_to_float(sign | 0x7fc00000);
  return bits_to_float(sign | float_to_bits(bits_to_float(magnitude << 20) * 0x1p120f));
}

}  // namespace scalellm
