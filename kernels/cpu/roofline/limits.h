// A machine's limits for rooflines (sl_measure_limits).
#pragma once
#include <cstdint>

#include "cpu/threads/team.h"
#include "scalellm.h"

namespace scalellm {

// What one thread does to show one instruction set's limits. The *_macs run about `iterations` short rounds of
// independent multiply-adds in registers and return how many they did.
struct LimitKernels {
  void (*read)(const uint8_t* data, int64_t bytes);  // reads every line; bytes a multiple of 1024
  int64_t (*int8_macs)(int64_t iterations);
  int64_t (*f32_macs)(int64_t iterations);
};
const LimitKernels& limit_kernels(int32_t isa);

extern const LimitKernels kLimitKernelsPortable;
#if defined(__x86_64__)
extern const LimitKernels kLimitKernelsAvx2;
extern const LimitKernels kLimitKernelsAvx512;
#elif defined(__aarch64__)
extern const LimitKernels kLimitKernelsNeon;
#endif

sl_limits measure_limits(int32_t isa, Team& team);

}  // namespace scalellm
