// Limits of NEON: sdot is sixteen int8 multiply-adds, fmla four of float32.
#include <arm_neon.h>

#include "cpu/roofline/limits_kernel.h"

namespace scalellm {
namespace {

constexpr int kSums = 24;

void read(const uint8_t* data, int64_t bytes) {
  read_lines<8, uint8x16_t>(data, bytes, [](uint8x16_t s, const uint8_t* p) { return veorq_u8(s, vld1q_u8(p)); });
}

int64_t int8_macs(int64_t iterations) {
  run_chains<kSums, int32x4_t>(iterations, vdupq_n_s8(3), vdupq_n_s8(-5),
                               [](int32x4_t s, int8x16_t a, int8x16_t b) { return vdotq_s32(s, a, b); });
  return iterations * kSums * 16;
}

int64_t f32_macs(int64_t iterations) {
  run_chains<kSums, float32x4_t>(iterations, vdupq_n_f32(0.5f), vdupq_n_f32(0.25f),
                                 [](float32x4_t s, float32x4_t a, float32x4_t b) { return vfmaq_f32(s, a, b); });
  return iterations * kSums * 4;
}

}  // namespace

const LimitKernels kLimitKernelsNeon = {read, int8_macs, f32_macs};

}  // namespace scalellm
