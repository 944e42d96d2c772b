// Limits of NEON: sdot is sixteen int8 multiply-adds, fmla four of float32.
#include <arm_neon.h>

#include "cpu/limits.h"

namespace scalellm {
namespace {

void read(const uint8_t* data, int64_t bytes) {
  uint8x16_t sum[8] = {};
  for (int64_t i = 0; i < bytes; i += 128) {
    for (int j = 0; j < 8; ++j) sum[j] = veorq_u8(sum[j], vld1q_u8(data + i + 16 * j));
  }
  for (auto& s : sum) asm volatile("" : : "w"(s));
}

int64_t int8_macs(int64_t iterations) {
  constexpr int kSums = 24;
  int32x4_t sum[kSums] = {};
  for (auto& s : sum) asm volatile("" : "+w"(s));  // distinct to the compiler
  int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(-5);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+w"(a), "+w"(b));
    for (auto& s : sum) s = vdotq_s32(s, a, b);
  }
  for (auto& s : sum) asm volatile("" : : "w"(s));
  return iterations * kSums * 16;
}

int64_t f32_macs(int64_t iterations) {
  constexpr int kSums = 24;
  float32x4_t sum[kSums] = {};
  for (auto& s : sum) asm volatile("" : "+w"(s));
  float32x4_t a = vdupq_n_f32(0.5f), b = vdupq_n_f32(0.25f);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+w"(a), "+w"(b));
    for (auto& s : sum) s = vfmaq_f32(s, a, b);
  }
  for (auto& s : sum) asm volatile("" : : "w"(s));
  return iterations * kSums * 4;
}

}  // namespace

const LimitKernels kLimitKernelsNeon = {read, int8_macs, f32_macs};

}  // namespace scalellm
