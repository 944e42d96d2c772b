// Planning of chunks and attention items. Nothing here influences a result: an item decides who computes, attention.h
// what.
#include "cpu/attention/plan.h"

#include <algorithm>

namespace scalellm {
namespace {

class AttendPlanner {
 public:
  AttendPlanner(const Step& step, const Chunk& chunk, int32_t num_kv_heads, int32_t group, AttendPlan* plan)
      : step_(step), chunk_(chunk), num_kv_heads_(num_kv_heads), group_(group), plan_(*plan) {
    plan_.tokens.clear();
    plan_.positions.clear();
    plan_.partials.clear();
    plan_.items.clear();
    plan_.keys = plan_.contexts = 0;
  }

  // `token` is a row of the chunk; ascending, and no token twice.
  void add(int32_t seq, int32_t token) {
    if (seq != seq_) flush();
    seq_ = seq;
    plan_.tokens.push_back(token);
    plan_.positions.push_back(step_.positions[chunk_.begin + token]);
    plan_.partials.push_back({});
    plan_.keys += plan_.positions.back() + 1;
  }

  // Ends the sequence that was added to last.
  void flush() {
    const int32_t total = static_cast<int32_t>(plan_.tokens.size()), count = total - first_;
    if (count == 0) return;
    const int32_t segments = plan_.positions.back() / kSegment + 1;
    plan_.contexts += plan_.positions.back() + 1;
    const int32_t head_rows = segments * count * group_;
    if (count <= kSplitQueries && count * group_ <= kMaxAttendRows && segments > 1 &&
        partial_rows_ + head_rows * num_kv_heads_ <= kMaxPartialRows) {
      for (int32_t i = 0; i < count; ++i) {
        plan_.partials[static_cast<size_t>(first_ + i)] = {segments, partial_rows_ + i * group_, count * group_,
                                                           head_rows};
      }
      for (int32_t s = 0; s < segments; ++s) {
        plan_.items.push_back({seq_, first_, count, s, partial_rows_ + s * count * group_, head_rows});
      }
      partial_rows_ += head_rows * num_kv_heads_;
    } else {
      const int32_t most = std::max(1, kItemRows / group_);
      for (int32_t i = first_; i < total; i += most) {
        plan_.items.push_back({seq_, i, std::min(most, total - i), -1, 0, 0});
      }
    }
    first_ = total;
  }

 private:
  const Step& step_;
  const Chunk& chunk_;
  const int32_t num_kv_heads_, group_;
  AttendPlan& plan_;
  int32_t seq_ = -1, first_ = 0, partial_rows_ = 0;
};

}  // namespace

int32_t plan_step(const Step& step, int32_t num_kv_heads, int32_t group, std::vector<Chunk>* chunks) {
  int32_t count = 0, seq = 0, row = 0;
  for (int32_t begin = 0; begin < step.num_tokens; begin += kChunkTokens, ++count) {
    if (static_cast<size_t>(count) == chunks->size()) chunks->emplace_back();
    Chunk& chunk = (*chunks)[static_cast<size_t>(count)];
    chunk.begin = begin;
    chunk.end = std::min(begin + kChunkTokens, step.num_tokens);
    chunk.row_begin = row;
    chunk.row_queries.clear();
    while (step.cu_seqlens[seq + 1] <= begin) ++seq;
    const int32_t first_seq = seq;
    AttendPlanner all(step, chunk, num_kv_heads, group, &chunk.all);
    AttendPlanner wanted(step, chunk, num_kv_heads, group, &chunk.wanted);
    for (int32_t t = begin; t < chunk.end; ++t) {
      while (step.cu_seqlens[seq + 1] <= t) ++seq;
      all.add(seq, t - begin);
      if (row < step.num_rows && step.row_tokens[row] == t) wanted.add(seq, t - begin);
      for (; row < step.num_rows && step.row_tokens[row] == t; ++row) {
        chunk.row_queries.push_back(static_cast<int32_t>(chunk.wanted.tokens.size()) - 1);
      }
    }
    all.flush();
    wanted.flush();
    chunk.row_end = row;
    chunk.decodes = step.cu_seqlens[seq + 1] - step.cu_seqlens[first_seq] == seq + 1 - first_seq;
  }
  return count;
}

}  // namespace scalellm
