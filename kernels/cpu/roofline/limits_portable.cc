// Limits of plain C++, as the compiler vectorises it.
#include <cstring>

#include "cpu/roofline/limits.h"

namespace scalellm {
namespace {

// Makes the compiler believe the memory behind p is used and changed.
void keep(void* p) {
  asm volatile("" : : "r"(p) : "memory");
}

void read(const uint8_t* data, int64_t bytes) {
  uint64_t sum[8] = {};
  for (int64_t i = 0; i < bytes; i += 64) {
    uint64_t line[8];
    std::memcpy(line, data + i, 64);
    for (int j = 0; j < 8; ++j) sum[j] ^= line[j];
  }
  keep(sum);
}

int64_t int8_macs(int64_t iterations) {
  int16_t a[32] = {}, b[32] = {};
  int32_t sum[32] = {};
  for (int64_t i = 0; i < iterations; ++i) {
    keep(a);
    for (int j = 0; j < 32; ++j) sum[j] += a[j] * b[j];
  }
  keep(sum);
  return iterations * 32;
}

int64_t f32_macs(int64_t iterations) {
  float a[32] = {}, b[32] = {}, sum[32] = {};
  for (int64_t i = 0; i < iterations; ++i) {
    keep(a);
    for (int j = 0; j < 32; ++j) sum[j] += a[j] * b[j];
  }
  keep(sum);
  return iterations * 32;
}

}  // namespace

const LimitKernels kLimitKernelsPortable = {read, int8_macs, f32_macs};

}  // namespace scalellm
