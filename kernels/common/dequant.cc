// GGUF's blocks, after the specification in ggml (ggml-common.h): 32 values a block for the plain types, super-blocks
// of 256 with 6-bit scales for the K types. Everything is read byte by byte: files are little-endian and unaligned.
#include "common/dequant.h"

#include <algorithm>

#include "scalellm.h"

namespace scalellm {
namespace {

float load_f16(const uint8_t* p) {
  return f16_to_float(uint16_t(p[0] | p[1] << 8));
}
uint16_t load_u16(const uint8_t* p) {
  return uint16_t(p[0] | p[1] << 8);
}
uint32_t load_u32(const uint8_t* p) {
  return uint32_t(p[0]) | uint32_t(p[1]) << 8 | uint32_t(p[2]) << 16 | uint32_t(p[3]) << 24;
}

void set_group(const Codes& out, int64_t first, int64_t count, float scale, float min) {
  std::fill_n(out.scale + first, count, scale);
  std::fill_n(out.min + first, count, min);
}

// 32 nibbles: the low halves of 16 bytes, then the high halves.
void nibbles_32(const uint8_t* p, uint8_t* code) {
  for (int i = 0; i < 16; ++i) {
    code[i] = p[i] & 15;
    code[i + 16] = p[i] >> 4;
  }
}

void decode_q8_0(const uint8_t* p, const Codes& out) {
  const float d = load_f16(p);
  for (int i = 0; i < 32; ++i) out.code[i] = uint8_t(p[2 + i] + 128);
  set_group(out, 0, 2, d, -128 * d);
}

void decode_q4_0(const uint8_t* p, const Codes& out) {
  const float d = load_f16(p);
  nibbles_32(p + 2, out.code);
  set_group(out, 0, 2, d, -8 * d);
}

void decode_q4_1(const uint8_t* p, const Codes& out) {
  nibbles_32(p + 4, out.code);
  set_group(out, 0, 2, load_f16(p), load_f16(p + 2));
}

void fifth_bits(uint32_t bits, uint8_t* code) {
  for (int i = 0; i < 32; ++i) code[i] |= uint8_t((bits >> i & 1) << 4);
}

void decode_q5_0(const uint8_t* p, const Codes& out) {
  const float d = load_f16(p);
  nibbles_32(p + 6, out.code);
  fifth_bits(load_u32(p + 2), out.code);
  set_group(out, 0, 2, d, -16 * d);
}

void decode_q5_1(const uint8_t* p, const Codes& out) {
  nibbles_32(p + 8, out.code);
  fifth_bits(load_u32(p + 4), out.code);
  set_group(out, 0, 2, load_f16(p), load_f16(p + 2));
}

void set_super_groups(int32_t dtype, const uint8_t* p, const Codes& out) {
  SuperScales s;
  read_super_scales(dtype, p, &s);
  const float d = f16_to_float(s.d), d_min = f16_to_float(s.d_min);
  for (int j = 0; j < 8; ++j) set_group(out, 2 * j, 2, d * float(s.scale[j]), -(d_min * float(s.min[j])));
}

void decode_q4_k(const uint8_t* p, const Codes& out) {
  set_super_groups(SL_Q4_K, p, out);
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < 32; ++i) {
      const uint8_t byte = p[16 + 32 * j + i];
      out.code[64 * j + i] = byte & 15;
      out.code[64 * j + 32 + i] = byte >> 4;
    }
  }
}

void decode_q5_k(const uint8_t* p, const Codes& out) {
  set_super_groups(SL_Q5_K, p, out);
  const uint8_t* high = p + 16;
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < 32; ++i) {
      const uint8_t byte = p[48 + 32 * j + i];
      out.code[64 * j + i] = uint8_t((byte & 15) | (high[i] >> (2 * j) & 1) << 4);
      out.code[64 * j + 32 + i] = uint8_t(byte >> 4 | (high[i] >> (2 * j + 1) & 1) << 4);
    }
  }
}

void decode_q6_k(const uint8_t* p, const Codes& out) {
  const float d = load_f16(p + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = p + 64 * half;
    const uint8_t* high = p + 128 + 32 * half;
    uint8_t* code = out.code + 128 * half;
    for (int i = 0; i < 32; ++i) {
      code[i] = uint8_t((low[i] & 15) | (high[i] & 3) << 4);
      code[i + 32] = uint8_t((low[i + 32] & 15) | (high[i] >> 2 & 3) << 4);
      code[i + 64] = uint8_t(low[i] >> 4 | (high[i] >> 4 & 3) << 4);
      code[i + 96] = uint8_t(low[i + 32] >> 4 | (high[i] >> 6) << 4);
    }
  }
  for (int j = 0; j < 16; ++j) {
    const float scale = d * float(int8_t(p[192 + j]));
    set_group(out, j, 1, scale, -32 * scale);
  }
}

void decode_block(int32_t dtype, const uint8_t* p, const Codes& out) {
  switch (dtype) {
    case SL_Q8_0:
      return decode_q8_0(p, out);
    case SL_Q4_0:
      return decode_q4_0(p, out);
    case SL_Q4_1:
      return decode_q4_1(p, out);
    case SL_Q5_0:
      return decode_q5_0(p, out);
    case SL_Q5_1:
      return decode_q5_1(p, out);
    case SL_Q4_K:
      return decode_q4_k(p, out);
    case SL_Q5_K:
      return decode_q5_k(p, out);
    case SL_Q6_K:
      return decode_q6_k(p, out);
  }
}

}  // namespace

void read_super_scales(int32_t dtype, const uint8_t* block, SuperScales* out) {
  *out = {};
  if (dtype == SL_Q6_K) {
    out->d = load_u16(block + 208);
    std::copy_n(block + 192, 16, out->scale);
    return;
  }
  out->d = load_u16(block);
  out->d_min = load_u16(block + 2);
  const uint8_t* q = block + 4;  // 8 scales and 8 mins of 6 bits in 12 bytes
  for (int j = 0; j < 8; ++j) {
    out->scale[j] = uint8_t(j < 4 ? q[j] & 63 : (q[j + 4] & 15) | (q[j - 4] >> 6) << 4);
    out->min[j] = uint8_t(j < 4 ? q[j + 4] & 63 : (q[j + 4] >> 4) | (q[j] >> 6) << 4);
  }
}

BlockShape block_shape(int32_t dtype) {
  switch (dtype) {
    case SL_F32:
      return {1, 4};
    case SL_F16:
      return {1, 2};
    case SL_BF16:
      return {1, 2};
    case SL_F8_E4M3:
      return {1, 1};
    case SL_Q8_0:
      return {32, 34};
    case SL_Q4_0:
      return {32, 18};
    case SL_Q4_1:
      return {32, 20};
    case SL_Q5_0:
      return {32, 22};
    case SL_Q5_1:
      return {32, 24};
    case SL_Q4_K:
      return {256, 144};
    case SL_Q5_K:
      return {256, 176};
    case SL_Q6_K:
      return {256, 210};
  }
  return {};
}

int64_t stored_bytes(int32_t dtype, int64_t values) {
  const BlockShape block = block_shape(dtype);
  if (block.values == 0 || values < 0 || values % block.values != 0) return -1;
  return values / block.values * block.bytes;
}

void decode_codes(int32_t dtype, const uint8_t* src, int64_t values, const Codes& out) {
  const BlockShape block = block_shape(dtype);
  for (int64_t v = 0; v < values; v += block.values, src += block.bytes) {
    decode_block(dtype, src, {out.code + v, out.scale + v / 16, out.min + v / 16});
  }
}

void dequantize(int32_t dtype, const uint8_t* src, int64_t values, float* out) {
  switch (dtype) {
    case SL_F32:
      std::memcpy(out, src, size_t(values) * 4);
      return;
    case SL_F16:
      for (int64_t i = 0; i < values; ++i) out[i] = f16_to_float(load_u16(src + 2 * i));
      return;
    case SL_BF16:
      for (int64_t i = 0; i < values; ++i) out[i] = bf16_to_float(load_u16(src + 2 * i));
      return;
    case SL_F8_E4M3:
      for (int64_t i = 0; i < values; ++i) out[i] = f8_e4m3_to_float(src[i]);
      return;
  }
  const BlockShape block = block_shape(dtype);
  uint8_t code[256];
  float scale[16], min[16];
  for (; values > 0; values -= block.values, src += block.bytes, out += block.values) {
    decode_block(dtype, src, {code, scale, min});
    for (int i = 0; i < block.values; ++i) out[i] = scale[i / 16] * float(code[i]) + min[i / 16];
  }
}

}  // namespace scalellm
