// Limits of AVX-512: vpdpbusd (64 multiply-adds), vfmadd231ps (16).
#include <immintrin.h>

#include "cpu/limits.h"

namespace scalellm {
namespace {

// Independent sums, enough to cover the latency of two multiply-adds a cycle.
constexpr int kSums = 16;

void read(const uint8_t* data, int64_t bytes) {
  __m512i sum[4] = {};
  for (int64_t i = 0; i < bytes; i += 256) {
    for (int j = 0; j < 4; ++j) sum[j] = _mm512_xor_si512(sum[j], _mm512_loadu_si512(data + i + 64 * j));
  }
  for (auto& s : sum) asm volatile("" : : "v"(s));
}

int64_t int8_macs(int64_t iterations) {
  __m512i sum[kSums] = {};
  for (auto& s : sum) asm volatile("" : "+v"(s));  // distinct to the compiler
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (int j = 0; j < kSums; ++j) sum[j] = _mm512_dpbusd_epi32(sum[j], a, b);
  }
  for (auto& s : sum) asm volatile("" : : "v"(s));
  return iterations * kSums * 64;
}

int64_t f32_macs(int64_t iterations) {
  __m512 sum[kSums] = {};
  for (auto& s : sum) asm volatile("" : "+v"(s));
  __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (int j = 0; j < kSums; ++j) sum[j] = _mm512_fmadd_ps(a, b, sum[j]);
  }
  for (auto& s : sum) asm volatile("" : : "v"(s));
  return iterations * kSums * 16;
}

}  // namespace

const LimitKernels kLimitKernelsAvx512 = {read, int8_macs, f32_macs};

}  // namespace scalellm
