// Processor features come from cpuid and, where registers must be saved on a switch, from what the operating system
// enabled (xgetbv; Intel SDM volume 1, 13.3).
#include "cpu/probe.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "common/api.h"
#include "cpu/process_limits.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace scalellm {
namespace {

#if defined(__x86_64__)
// AMX tiles are 8 kB of state that Linux saves only for processes that asked (arch_prctl ARCH_REQ_XCOMP_PERM).
bool request_amx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

int64_t detect_features() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const bool fma = c & bit_FMA, f16c = c & bit_F16C, osxsave = c & bit_OSXSAVE;
  uint64_t enabled = 0;
  if (osxsave) {
    uint32_t lo = 0, hi = 0;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    enabled = (uint64_t{hi} << 32) | lo;
  }
  const bool ymm = (enabled & 0x6) == 0x6, zmm = (enabled & 0xe6) == 0xe6, tiles = (enabled & 0x60000) == 0x60000;
  int64_t features = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  constexpr unsigned kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;
  if (ymm && (b & bit_AVX2)) features |= SL_CPU_AVX2;
  if (ymm && fma) features |= SL_CPU_FMA;
  if (ymm && f16c) features |= SL_CPU_F16C;
  const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  if (zmm && (b & avx512) == avx512) features |= SL_CPU_AVX512;
  if (zmm && (c & bit_AVX512VNNI)) features |= SL_CPU_AVX512_VNNI;
  const bool amx = tiles && (d & kAmxTile) && (d & kAmxInt8);
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && zmm && (a & bit_AVX512BF16)) features |= SL_CPU_AVX512_BF16;
  if (amx && request_amx()) features |= SL_CPU_AMX_INT8;
  return features;
}

std::string cpu_name() {
  unsigned words[12] = {};
  if (__get_cpuid_max(0x80000000, nullptr) < 0x80000004) return "x86-64";
  for (unsigned i = 0; i < 3; ++i) {
    unsigned* w = words + 4 * i;
    __get_cpuid(0x80000002 + i, &w[0], &w[1], &w[2], &w[3]);
  }
  char text[49] = {};
  std::memcpy(text, words, 48);
  std::string name = text;
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name;
}
#elif defined(__aarch64__)
int64_t detect_features() {
  const unsigned long caps = getauxval(AT_HWCAP);
  int64_t features = 0;
  if ((caps & HWCAP_ASIMD) && (caps & HWCAP_ASIMDHP)) features |= SL_CPU_NEON;
  if (caps & HWCAP_ASIMDDP) features |= SL_CPU_NEON_DOTPROD;
  return features;
}
std::string cpu_name() {
  return "aarch64";
}
#else
int64_t detect_features() {
  return 0;
}
std::string cpu_name() {
  return "unknown";
}
#endif

bool available(int32_t isa) {
  const auto has = [](int64_t bits) { return (cpu_features() & bits) == bits; };
  constexpr int64_t kAvx2 = SL_CPU_AVX2 | SL_CPU_FMA | SL_CPU_F16C;
  constexpr int64_t kAvx512 = kAvx2 | SL_CPU_AVX512 | SL_CPU_AVX512_VNNI | SL_CPU_AVX512_BF16;
  switch (isa) {
    case SL_ISA_PORTABLE:
      return true;
    case SL_ISA_AVX2:
      return has(kAvx2);
    case SL_ISA_AVX512:
      return has(kAvx512);
    case SL_ISA_AMX:
      return has(kAvx512 | SL_CPU_AMX_INT8);
    case SL_ISA_NEON:
      return has(SL_CPU_NEON | SL_CPU_NEON_DOTPROD);
    default:
      return false;
  }
}

// Cores that this process may run on; the kernel keeps the set within its control group's.
int32_t allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return static_cast<int32_t>(std::max(1l, sysconf(_SC_NPROCESSORS_ONLN)));
}

template <size_t N>
void write_text(char (&out)[N], const std::string& text) {
  std::snprintf(out, N, "%s", text.c_str());
}

}  // namespace

int64_t cpu_features() {
  static const int64_t features = detect_features();
  return features;
}

int32_t best_isa() {
  for (int32_t isa : {SL_ISA_AMX, SL_ISA_AVX512, SL_ISA_AVX2, SL_ISA_NEON}) {
    if (available(isa)) return isa;
  }
  return SL_ISA_PORTABLE;
}

int32_t resolve_isa(int32_t isa) {
  if (isa == SL_ISA_AUTO) return best_isa();
  require(isa >= SL_ISA_AUTO && isa <= SL_ISA_AMX, "isa: unknown instruction set");
  if (!available(isa)) throw StatusError(SL_ERR_UNSUPPORTED, "isa: this machine lacks the instruction set asked for");
  return isa;
}

int32_t resolve_threads(int32_t requested) {
  require(requested >= 0 && requested <= 256, "num_threads: must be 0..256");
  if (requested > 0) return requested;
  return cores_within(allowed_cores(), process_limits("").cpu_quota);
}

}  // namespace scalellm

extern "C" int32_t sl_probe(const char* root, sl_probe_info* out) {
  using namespace scalellm;
  return guarded([&] {
    require(root != nullptr && out != nullptr, "root, out: null");
    const ProcessLimits limits = process_limits(root);
    *out = {};
    out->best_isa = best_isa();
    out->num_cores = cores_within(allowed_cores(), limits.cpu_quota);
    out->features = cpu_features();
    out->total_memory = limits.total_memory;
    out->available_memory = limits.available_memory;
    out->cpu_quota = limits.cpu_quota;
    write_text(out->cpu_name, cpu_name());
    write_text(out->memory_limit, limits.memory_limit);
    write_text(out->cpu_limit, limits.cpu_limit);
    return SL_OK;
  });
}
