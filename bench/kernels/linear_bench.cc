// Matrix products of the bundled model's shapes against this machine's limits, measured in turn in the same run.
//
//   build/linear_bench [threads [isa [rounds]]]
//
// One token: bytes of weights a second as a share of the read bandwidth; every shape runs over copies that exceed the
// caches, a barrier after each, as layers follow each other. Many tokens: multiply-adds a second as a share of the
// instruction set's int8 peak. Samples are about a millisecond long, shorter than a time slice, and the best of all
// rounds counts, so that neighbours on the machine matter little.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/dequant.h"
#include "cpu/linear/linear.h"
#include "cpu/linear/weight_buffer.h"
#include "cpu/probe.h"
#include "cpu/roofline/limits.h"
#include "scalellm.h"

using namespace scalellm;
using Clock = std::chrono::steady_clock;

namespace {

struct Shape {
  const char* name;
  int32_t dtype;
  std::vector<int64_t> rows;
  int64_t cols;
  bool gate_up;
};

const Shape kShapes[] = {
    {"qkv", SL_Q4_1, {576, 192, 192}, 576, false}, {"o", SL_Q4_1, {576}, 576, false},
    {"gate_up", SL_Q4_1, {1536, 1536}, 576, true}, {"down", SL_Q4_1, {576}, 1536, false},
    {"lm_head", SL_Q8_0, {49152}, 576, false},
};
const int64_t kTokens[] = {1, 4, 16, 64, 512};
constexpr int64_t kMaxTokens = 512;
constexpr int64_t kCopyBytes = int64_t{100} << 20;
constexpr int64_t kSampleBytes = 24 << 20;  // of weights read
constexpr int64_t kSampleMacs = 200'000'000;
constexpr int kSamples = 12;  // a round

std::vector<uint8_t> random_weights(const Shape& shape, int64_t rows, std::mt19937& next) {
  std::vector<uint8_t> out(size_t(stored_bytes(shape.dtype, shape.cols) * rows));
  for (auto& byte : out) byte = uint8_t(next());
  for (size_t block = 0; block < out.size(); block += size_t(block_shape(shape.dtype).bytes)) {
    out[block + 1] = 0x20;                              // scales near 2^-7
    if (shape.dtype == SL_Q4_1) out[block + 3] = 0xac;  // mins near -8 scales
  }
  return out;
}

struct Bench {
  const Shape* shape;
  std::vector<std::unique_ptr<Linear>> copies;
  int64_t macs = 0;  // a token
  size_t next = 0;   // copy that the next sample starts with
  double best[std::size(kTokens)];
};

Bench make_bench(const Shape& shape, int32_t isa, Team& team, std::mt19937& next) {
  std::vector<std::vector<uint8_t>> data;
  LinearSpec spec;
  spec.gate_up = shape.gate_up;
  spec.isa = isa;
  Bench bench;
  bench.shape = &shape;
  for (const int64_t rows : shape.rows) {
    data.push_back(random_weights(shape, rows, next));
    TensorView part;
    part.dtype = shape.dtype;
    part.rows = rows;
    part.cols = shape.cols;
    part.data = data.back().data();
    spec.parts.push_back(part);
    bench.macs += rows * shape.cols;
  }
  bench.copies.push_back(Linear::pack(spec, team));
  while (int64_t(bench.copies.size()) * bench.copies[0]->weight_bytes() < kCopyBytes) {
    bench.copies.push_back(Linear::pack(spec, team));
  }
  std::fill(std::begin(bench.best), std::end(bench.best), 1e9);
  return bench;
}

// Seconds of one product of `tokens` tokens, averaged over a few copies in one run.
double time_products(Bench& bench, Team& team, int64_t tokens, const uint8_t* acts, float* y) {
  const int64_t by_bytes = kSampleBytes / bench.copies[0]->weight_bytes();
  const int64_t count = std::max<int64_t>(1, std::min(by_bytes, kSampleMacs / (bench.macs * tokens)));
  const size_t first = bench.next;
  bench.next = (first + size_t(count)) % bench.copies.size();
  const auto start = Clock::now();
  team.run([&](Member& member) {
    for (int64_t i = 0; i < count; ++i) {
      const Linear& linear = *bench.copies[(first + size_t(i)) % bench.copies.size()];
      linear.run(member, acts, tokens, y, linear.rows(), Store::kAssign, nullptr);
      member.barrier();
    }
  });
  return std::chrono::duration<double>(Clock::now() - start).count() / double(count);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = resolve_threads(argc > 1 ? std::atoi(argv[1]) : 0);
  const int32_t isa = resolve_isa(argc > 2 ? std::atoi(argv[2]) : 0);
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 8;
  Team team(threads);
  std::mt19937 next(1);
  std::vector<Bench> benches;
  for (const Shape& shape : kShapes) benches.push_back(make_bench(shape, isa, team, next));

  WeightBuffer acts(kMaxTokens * 1536 * 4), y(size_t{kMaxTokens} * 49152 * 4);
  float* out = reinterpret_cast<float*>(y.data());
  std::vector<float> x(1536);
  for (auto& value : x) value = std::normal_distribution<float>()(next);
  sl_limits limits = {};
  for (int round = 0; round < rounds; ++round) {
    for (Bench& bench : benches) {
      const sl_limits now = measure_limits(isa, team);
      limits.read_bytes_per_s = std::max(limits.read_bytes_per_s, now.read_bytes_per_s);
      limits.int8_macs_per_s = std::max(limits.int8_macs_per_s, now.int8_macs_per_s);
      const Linear& linear = *bench.copies[0];
      for (int64_t t = 0; t < kMaxTokens; ++t) {
        linear.prepare(x.data(), acts.data() + t * linear.act_layout().bytes_per_token);
      }
      for (size_t i = 0; i < std::size(kTokens); ++i) {
        const int64_t tokens = kTokens[i];
        for (int sample = 0; sample < kSamples; ++sample) {
          bench.best[i] = std::min(bench.best[i], time_products(bench, team, tokens, acts.data(), out));
        }
      }
    }
  }

  std::printf("isa %d, %d threads: reads %.1f GB/s, int8 %.0f G MAC/s\n", isa, threads, limits.read_bytes_per_s / 1e9,
              limits.int8_macs_per_s / 1e9);
  std::printf("%-8s %9s %7s", "shape", "GB/s", "reads");
  for (size_t i = 1; i < std::size(kTokens); ++i) std::printf("  %3ld: GMAC/s peak", long(kTokens[i]));
  std::printf("\n");
  double bytes = 0, seconds[std::size(kTokens)] = {}, macs = 0;
  for (const Bench& bench : benches) {
    const bool head = std::string(bench.shape->name) == "lm_head";
    const double layers = head ? 1 : 30;
    const double size = double(bench.copies[0]->weight_bytes());
    bytes += layers * size;
    if (!head) macs += layers * double(bench.macs);
    std::printf("%-8s %9.1f %6.0f%%", bench.shape->name, size / bench.best[0] / 1e9,
                100 * size / bench.best[0] / limits.read_bytes_per_s);
    for (size_t i = 0; i < std::size(kTokens); ++i) {
      if (!head || i == 0) seconds[i] += layers * bench.best[i];
      const double rate = double(bench.macs * kTokens[i]) / bench.best[i];
      if (i > 0) std::printf("  %11.0f %3.0f%%", rate / 1e9, 100 * rate / limits.int8_macs_per_s);
    }
    std::printf("\n");
  }
  std::printf("%-8s %9.1f %6.0f%%", "model", bytes / seconds[0] / 1e9,
              100 * bytes / seconds[0] / limits.read_bytes_per_s);
  for (size_t i = 1; i < std::size(kTokens); ++i) {
    const double rate = macs * double(kTokens[i]) / seconds[i];
    std::printf("  %11.0f %3.0f%%", rate / 1e9, 100 * rate / limits.int8_macs_per_s);
  }
  std::printf("   (many tokens without lm_head)\n");
}
