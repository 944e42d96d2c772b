// Limits of AVX-512: vpdpbusd (64 multiply-adds), vfmadd231ps (16).
#include <immintrin.h>

#include "cpu/roofline/limits_kernel.h"

namespace scalellm {
namespace {

constexpr int kSums = 16;

void read(const uint8_t* data, int64_t bytes) {
  read_lines<4, __m512i>(data, bytes,
                         [](__m512i s, const uint8_t* p) { return _mm512_xor_si512(s, _mm512_loadu_si512(p)); });
}

int64_t int8_macs(int64_t iterations) {
  run_chains<kSums, __m512i>(iterations, _mm512_set1_epi8(3), _mm512_set1_epi8(-5),
                             [](__m512i s, __m512i a, __m512i b) { return _mm512_dpbusd_epi32(s, a, b); });
  return iterations * kSums * 64;
}

int64_t f32_macs(int64_t iterations) {
  run_chains<kSums, __m512>(iterations, _mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f),
                            [](__m512 s, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, s); });
  return iterations * kSums * 16;
}

}  // namespace

const LimitKernels kLimitKernelsAvx512 = {read, int8_macs, f32_macs};

}  // namespace scalellm
