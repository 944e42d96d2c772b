// Limits of AVX2. An int8 product is vpmaddubsw; four of 4-bit codes fit in 16 bits before vpmaddwd widens them, so the
// limit is that of four products, three sums, one widening and its sum (128 multiply-adds). vfmadd231ps is 8.
#include <immintrin.h>

#include "cpu/roofline/limits_kernel.h"

namespace scalellm {
namespace {

void read(const uint8_t* data, int64_t bytes) {
  read_lines<8, __m256i>(data, bytes, [](__m256i s, const uint8_t* p) {
    return _mm256_xor_si256(s, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  });
}

int64_t int8_macs(int64_t iterations) {
  constexpr int kSums = 6;
  const __m256i one = _mm256_set1_epi16(1);
  run_chains<kSums, __m256i>(iterations, _mm256_set1_epi8(3), _mm256_set1_epi8(-5),
                             [one](__m256i s, __m256i& a, __m256i& b) {
                               __m256i wide = _mm256_maddubs_epi16(a, b);
                               for (int j = 1; j < 4; ++j) {
                                 keep(a);
                                 keep(b);
                                 wide = _mm256_add_epi16(wide, _mm256_maddubs_epi16(a, b));
                               }
                               // Or the next sum's first product would be this one's last.
                               keep(a);
                               keep(b);
                               return _mm256_add_epi32(s, _mm256_madd_epi16(wide, one));
                             });
  return iterations * kSums * 128;
}

int64_t f32_macs(int64_t iterations) {
  constexpr int kSums = 12;
  run_chains<kSums, __m256>(iterations, _mm256_set1_ps(0.5f), _mm256_set1_ps(0.25f),
                            [](__m256 s, __m256 a, __m256 b) { return _mm256_fmadd_ps(a, b, s); });
  return iterations * kSums * 8;
}

}  // namespace

const LimitKernels kLimitKernelsAvx2 = {read, int8_macs, f32_macs};

}  // namespace scalellm
