// What this machine can do at most: streaming reads and multiply-adds in registers, measured on all threads at once.
// Medians of samples about as long as a step: on a shared machine the best moment of a limit is no measure for the
// typical moment of a step.
#include "cpu/roofline/limits.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "common/api.h"
#include "cpu/linear/weight_buffer.h"
#include "cpu/probe.h"
#include "cpu/threads/team.h"

namespace scalellm {
namespace {

using Clock = std::chrono::steady_clock;

// Past the last-level cache of any machine this is measured on, so that reads come from memory.
constexpr size_t kReadBytes = size_t{192} << 20;
constexpr int64_t kReadTile = 1 << 20;
constexpr int kReadRounds = 9;
constexpr int kMacRounds = 15;
constexpr int64_t kMacIterations = 400000;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double read_rate(const LimitKernels& kernels, Team& team) {
  WeightBuffer buffer(kReadBytes);
  team.run([&](Member& member) {
    // A byte a page: untouched pages would all be the one zero page.
    member.for_tiles(kReadBytes / kReadTile, [&](int64_t tile) {
      for (int64_t i = 0; i < kReadTile; i += 4096) buffer.data()[tile * kReadTile + i] = 1;
    });
  });
  std::vector<double> rates;
  for (int round = 0; round < kReadRounds; ++round) {
    const auto start = Clock::now();
    team.run([&](Member& member) {
      member.for_tiles(kReadBytes / kReadTile,
                       [&](int64_t tile) { kernels.read(buffer.data() + tile * kReadTile, kReadTile); });
    });
    rates.push_back(double(kReadBytes) / seconds_since(start));
  }
  return median(std::move(rates));
}

double mac_rate(int64_t (*macs)(int64_t), Team& team) {
  std::vector<double> rates;
  for (int round = 0; round < kMacRounds; ++round) {
    int64_t done = 0;
    const auto start = Clock::now();
    team.run([&](Member& member) {
      const int64_t count = macs(kMacIterations);
      if (member.index() == 0) done = count * member.size();
    });
    rates.push_back(double(done) / seconds_since(start));
  }
  return median(std::move(rates));
}

}  // namespace

sl_limits measure_limits(int32_t isa, Team& team) {
  const LimitKernels& kernels = limit_kernels(isa);
  return {read_rate(kernels, team), mac_rate(kernels.int8_macs, team), mac_rate(kernels.f32_macs, team)};
}

const LimitKernels& limit_kernels(int32_t isa) {
  switch (isa) {
#if defined(__x86_64__)
    case SL_ISA_AVX2:
      return kLimitKernelsAvx2;
    case SL_ISA_AVX512:
    case SL_ISA_AMX:  // tiles alone do eight times as much, which sums that end every 16 columns are far from
      return kLimitKernelsAvx512;
#elif defined(__aarch64__)
    case SL_ISA_NEON:
      return kLimitKernelsNeon;
#endif
    default:
      return kLimitKernelsPortable;
  }
}

}  // namespace scalellm

using namespace scalellm;

extern "C" int32_t sl_measure_limits(int32_t isa, int32_t num_threads, sl_limits* out) {
  return guarded([&] {
    require(out != nullptr, "out must not be null");
    Team team(resolve_threads(num_threads));
    *out = measure_limits(resolve_isa(isa), team);
    return int32_t{SL_OK};
  });
}
