// Limits of AVX2. An int8 product is vpmaddubsw; four of 4-bit codes fit in 16 bits before vpmaddwd widens them, so the
// limit is that of four products, three sums, one widening and its sum (128 multiply-adds). vfmadd231ps is 8.
#include <immintrin.h>

#include "cpu/limits.h"

namespace scalellm {
namespace {

void read(const uint8_t* data, int64_t bytes) {
  __m256i sum[8] = {};
  for (int64_t i = 0; i < bytes; i += 256) {
    for (int j = 0; j < 8; ++j) {
      const __m256i line = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 32 * j));
      sum[j] = _mm256_xor_si256(sum[j], line);
    }
  }
  for (auto& s : sum) asm volatile("" : : "x"(s));
}

int64_t int8_macs(int64_t iterations) {
  constexpr int kSums = 6;
  __m256i sum[kSums] = {};
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-5);
  const __m256i one = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < iterations; ++i) {
    for (auto& s : sum) {
      __m256i wide = _mm256_maddubs_epi16(a, b);
      for (int j = 1; j < 4; ++j) {
        asm volatile("" : "+x"(a), "+x"(b));
        wide = _mm256_add_epi16(wide, _mm256_maddubs_epi16(a, b));
      }
      s = _mm256_add_epi32(s, _mm256_madd_epi16(wide, one));
      asm volatile("" : "+x"(a), "+x"(b));
    }
  }
  for (auto& s : sum) asm volatile("" : : "x"(s));
  return iterations * kSums * 128;
}

int64_t f32_macs(int64_t iterations) {
  constexpr int kSums = 12;
  __m256 sum[kSums] = {};
  for (auto& s : sum) asm volatile("" : "+x"(s));  // distinct to the compiler
  __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
    for (auto& s : sum) s = _mm256_fmadd_ps(a, b, s);
  }
  for (auto& s : sum) asm volatile("" : : "x"(s));
  return iterations * kSums * 8;
}

}  // namespace

const LimitKernels kLimitKernelsAvx2 = {read, int8_macs, f32_macs};

}  // namespace scalellm
