// Single operations over the caller's memory, for tests and kernel benchmarks.
#include <cmath>
#include <cstring>

#include "common/api.h"
#include "common/buffer.h"
#include "cpu/attention/plan.h"
#include "cpu/kernels.h"
#include "cpu/probe.h"
#include "cpu/sampler.h"
#include "cpu/threads/team.h"

namespace scalellm {
namespace {

int32_t op_attention(const sl_op_attention_args& a) {
  require(a.num_kv_heads >= 1 && a.num_heads >= 1 && a.num_heads % a.num_kv_heads == 0,
          "num_heads, num_kv_heads: bad ratio");
  const int32_t group = a.num_heads / a.num_kv_heads, dim = a.head_dim;
  require(group <= kMaxAttendRows, "num_heads: too many a KV head");
  require(dim >= 2 && dim <= 512 && dim % 2 == 0, "head_dim: must be even, 2..512");
  require(a.query_len >= 1 && a.query_len <= a.context_len, "query_len: must be 1..context_len");
  require(a.window >= 0, "window: negative");
  require(a.q && a.k && a.v && a.block_table && a.out, "q, k, v, block_table, out: null");
  const Kernels& kernels = kernels_for(resolve_isa(a.isa));
  const KvLayout layout = KvLayout::make(a.kv_dtype, a.block_size, a.num_kv_heads, dim);
  const int32_t blocks = (a.context_len + a.block_size - 1) / a.block_size;
  int32_t most = 0;
  for (int32_t b = 0; b < blocks; ++b) {
    require(a.block_table[b] >= 0 && a.block_table[b] < (1 << 20), "block_table: not small numbers");
    most = std::max(most, a.block_table[b]);
  }
  const KvCache cache(layout, 1, most + 1);
  for (int32_t t = 0; t < a.context_len; ++t) {
    for (int32_t h = 0; h < a.num_kv_heads; ++h) {
      const int64_t row = (int64_t{t} * a.num_kv_heads + h) * dim;
      kernels.kv_write(layout, cache.head(0, a.block_table[t / a.block_size], h), t % a.block_size, a.k + row,
                       a.v + row);
    }
  }
  Team team(a.num_threads == 0 ? 1 : resolve_threads(a.num_threads));
  std::vector<int32_t> tokens, positions;
  for (int32_t i = 0; i < a.query_len; ++i) {
    tokens.push_back(i);
    positions.push_back(a.context_len - a.query_len + i);
  }
  const int32_t at_once = std::max(1, kMaxAttendRows / group), items = (a.query_len + at_once - 1) / at_once;
  team.run([&](Member& member) {
    Buffer<float> scratch(attend_scratch_floats(dim));
    member.for_tiles(int64_t{items} * a.num_kv_heads, [&](int64_t i) {
      const int32_t first = static_cast<int32_t>(i / a.num_kv_heads) * at_once;
      AttendArgs args = {};
      args.layout = &layout;
      args.layer = cache.layer(0);
      args.table = a.block_table;
      args.kv_head = static_cast<int32_t>(i % a.num_kv_heads);
      args.num_heads = group;
      args.num_queries = std::min(at_once, a.query_len - first);
      args.tokens = tokens.data() + first;
      args.positions = positions.data() + first;
      args.window = a.window;
      args.segment = -1;
      args.q = a.q + args.kv_head * group * dim;
      args.out = a.out + args.kv_head * group * dim;
      args.q_stride = args.out_stride = int64_t{a.num_heads} * dim;
      args.scratch = scratch.data();
      kernels.attend(args);
    });
  });
  return SL_OK;
}

int32_t op_sample(const sl_op_sample_args& a) {
  require(a.vocab_size >= 1, "vocab_size: must be positive");
  require(a.params && a.logits && a.token_id && a.rank && a.logprob, "params, logits, token_id, rank, logprob: null");
  require(a.top >= -1 && a.top <= SL_MAX_TOP_LOGPROBS, "top: not in -1..20");
  require(a.top <= 0 || (a.top_ids && a.top_logprobs), "top_ids, top_logprobs: null");
  require(a.output_position >= 0, "output_position: negative");
  check_slot_params(*a.params, a.vocab_size);
  Slot slot;
  slot.set(*a.params, a.vocab_size, 0);
  slot.set_num_outputs(a.output_position);
  Sampler sampler(kernels_for(best_isa()), a.vocab_size);
  *a.token_id = sampler.sample(slot, a.logits);
  Logprobs out;
  out.top_ids = a.top_ids;
  out.top_logprobs = a.top_logprobs;
  if (a.top >= 0) sampler.logprobs(a.logits, *a.token_id, a.top, &out);
  *a.rank = out.rank;
  *a.logprob = out.logprob;
  return SL_OK;
}

}  // namespace
}  // namespace scalellm

using namespace scalellm;

extern "C" int32_t sl_op_rms_norm(const sl_op_rms_norm_args* args) {
  return guarded([&] {
    require(args && args->x && args->w && args->y, "x, w, y: null");
    require(args->tokens >= 0 && args->cols >= 1, "tokens, cols: out of range");
    const Kernels& kernels = kernels_for(resolve_isa(args->isa));
    for (int64_t t = 0; t < args->tokens; ++t) {
      kernels.rms_norm(args->x + t * args->cols, args->w, args->eps, args->cols, args->y + t * args->cols);
    }
    return SL_OK;
  });
}

extern "C" int32_t sl_op_rope(const sl_op_rope_args* args) {
  return guarded([&] {
    require(args && args->inv_freq && args->positions && args->x, "inv_freq, positions, x: null");
    require(args->tokens >= 0 && args->num_heads >= 1, "tokens, num_heads: out of range");
    require(args->head_dim >= 2 && args->head_dim % 2 == 0, "head_dim: must be even");
    const Kernels& kernels = kernels_for(resolve_isa(args->isa));
    const int32_t half = args->head_dim / 2;
    const double factor = static_cast<double>(args->attention_factor);
    std::vector<float> cos(static_cast<size_t>(half)), sin(static_cast<size_t>(half));
    for (int64_t t = 0; t < args->tokens; ++t) {
      for (int32_t d = 0; d < half; ++d) {
        const double angle = args->positions[t] * static_cast<double>(args->inv_freq[d]);
        cos[static_cast<size_t>(d)] = static_cast<float>(std::cos(angle) * factor);
        sin[static_cast<size_t>(d)] = static_cast<float>(std::sin(angle) * factor);
      }
      kernels.rope(args->x + t * args->num_heads * args->head_dim, cos.data(), sin.data(), args->num_heads,
                   args->head_dim);
    }
    return SL_OK;
  });
}

extern "C" int32_t sl_op_attention(const sl_op_attention_args* args) {
  return guarded([&] {
    require(args != nullptr, "args: null");
    return op_attention(*args);
  });
}

extern "C" int32_t sl_op_silu_mul(const sl_op_silu_mul_args* args) {
  return guarded([&] {
    require(args && args->gate && args->up && args->y, "gate, up, y: null");
    require(args->tokens >= 0 && args->cols >= 0, "tokens, cols: negative");
    kernels_for(resolve_isa(args->isa)).silu_mul(args->gate, args->up, int64_t{args->tokens} * args->cols, args->y);
    return SL_OK;
  });
}

extern "C" int32_t sl_op_sample(const sl_op_sample_args* args) {
  return guarded([&] {
    require(args != nullptr, "args: null");
    return op_sample(*args);
  });
}
