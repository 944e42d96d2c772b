// Entry points for tests and kernel benchmarks: one matrix product, one dequantisation, over the caller's memory.
#include <algorithm>

#include "common/api.h"
#include "common/dequant.h"
#include "cpu/linear/linear.h"
#include "cpu/linear/weight_buffer.h"
#include "cpu/probe.h"

namespace scalellm {
namespace {

int32_t op_linear(const sl_op_linear_args& args) {
  require(args.tokens >= 0 && args.rows > 0 && args.cols > 0, "tokens, rows and cols must be positive");
  require(args.w && args.x && args.y, "w, x and y must not be null");
  require(stored_bytes(args.dtype, args.cols) > 0, "cols is not whole blocks of dtype");
  require(args.weight_format >= SL_WEIGHTS_AUTO && args.weight_format <= SL_WEIGHTS_INT8, "unknown weight_format");
  Team team(std::max(args.num_threads, 1));
  LinearSpec spec;
  spec.parts.emplace_back();
  spec.parts[0].dtype = args.dtype;
  spec.parts[0].rows = args.rows;
  spec.parts[0].cols = args.cols;
  spec.parts[0].data = static_cast<const uint8_t*>(args.w);
  spec.weight_format = args.weight_format;
  spec.isa = resolve_isa(args.isa);
  const auto linear = Linear::pack(spec, team);
  const int64_t stride = linear->act_layout().bytes_per_token;
  WeightBuffer acts(size_t(stride * std::max<int64_t>(args.tokens, 1)));
  team.run([&](Member& member) {
    member.for_tiles(args.tokens,
                     [&](int64_t t) { linear->prepare(args.x + t * args.cols, acts.data() + t * stride); });
    member.barrier();
    linear->run(member, acts.data(), args.tokens, args.y, args.rows, Store::kAssign, nullptr);
  });
  return SL_OK;
}

}  // namespace
}  // namespace scalellm

using namespace scalellm;

extern "C" int32_t sl_op_linear(const sl_op_linear_args* args) {
  return guarded([&] {
    require(args != nullptr, "args must not be null");
    return op_linear(*args);
  });
}

extern "C" int32_t sl_op_dequantize(int32_t dtype, const void* src, int64_t num_values, float* dst) {
  return guarded([&] {
    require(src != nullptr && dst != nullptr, "src and dst must not be null");
    require(stored_bytes(dtype, num_values) >= 0, "num_values is not whole blocks of a known dtype");
    dequantize(dtype, static_cast<const uint8_t*>(src), num_values, dst);
    return int32_t{SL_OK};
  });
}
