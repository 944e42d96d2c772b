// The forward pass of one step on a CPU: embedding, layers, logits and sampling. It tests numbers and flags of the
// model, never its name, and leaves weight formats to Linear and instruction sets to Kernels.
//
// All members of the team run the same code and meet at barriers. Rows of one token depend on that token and its
// context alone, so chunks, batches and the number of members never change a result.
#pragma once
#include <cstdint>
#include <vector>

#include "common/buffer.h"
#include "common/profile.h"
#include "common/slot.h"
#include "common/step.h"
#include "cpu/attention/kv_cache.h"
#include "cpu/attention/plan.h"
#include "cpu/model.h"
#include "cpu/pages.h"
#include "cpu/sampler.h"
#include "cpu/threads/crew.h"
#include "cpu/threads/team.h"

namespace scalellm {

class Forward {
 public:
  // Allocates the workspace; a step allocates nothing that its size did not already need.
  Forward(const CpuModel& model, const sl_engine_config& config, const KvCache& cache, int most_threads);

  // Runs a checked step on a team of at most most_threads: writes KV, fills step.result and step.logits, commits
  // sampled tokens to slots. Returns the members' processor time in nanoseconds.
  uint64_t run(Step& step, std::vector<Slot>& slots, Team& team);

  // What a step computes in, beside the KV cache.
  std::vector<MemoryRange> workspace();

 private:
  // One member's own scratch.
  struct Scratch {
    Scratch(const CpuModel& model, int64_t act_bytes);
    Buffer<float> row;                  // a normalised or merged token
    Buffer<float> queries;              // a token's query heads of one KV head
    Buffer<float> merge;                // a partial attention result
    Buffer<float> attend;               // attend_scratch_floats
    Buffer<uint8_t> acts;               // activations of up to kAlone tokens
    std::vector<int32_t> expert_begin;  // [num_experts + 1] first entry of each expert
    std::vector<int32_t> entry_tokens;  // [tokens * experts_per_token] by expert
    std::vector<int32_t> entry_of;      // [tokens][experts_per_token] place of a choice in entry_tokens
    std::vector<KvRange> ahead;         // up to kMostAhead parts of the cache
    Sampler sampler;
    uint64_t cpu_ns = 0;  // spent in the step
  };
  // With so few tokens every member prepares all activations for itself, which is cheaper than a barrier.
  static constexpr int32_t kAlone = 2;
  // Parts of the cache that an attention item fetches for the next one: a segment in blocks of 16 tokens.
  static constexpr size_t kMostAhead = 48;

  // forward.cc
  void run_member(Member& member);
  void copy_blocks(Member& member);
  void embed(Member& member, const Chunk& chunk);
  void layer(Member& member, const Chunk& chunk, int32_t index);
  void rotate(int32_t token, float* heads, int32_t count, const Buffer<float>& norm);
  void store(const Chunk& chunk, int32_t index, int32_t token, int32_t kv_head);
  void attend(Member& member, const Chunk& chunk, const AttendPlan& plan, int32_t index, bool rotated);
  void list_ahead(const AttendPlan& plan, int32_t index, int64_t item_index, std::vector<KvRange>* ranges) const;
  const float* attention_row(const AttendPlan& plan, int32_t query, Scratch& scratch);
  void mark(const Member& member, int stage, int64_t bytes = 0, int64_t ops = 0);
  void mark(const Member& member, int stage, const Linear& linear, int64_t tokens);
  Scratch& scratch(const Member& member) { return scratch_[static_cast<size_t>(member.index())]; }

  // Prepares row(i) for linear, i < count: in acts, shared out and followed by a barrier, or by each member for itself.
  // row returns float32[cols] and may use scratch.row. Returns the activations.
  template <class F>
  const uint8_t* prepare(Member& member, const Linear& linear, int32_t count, Buffer<uint8_t>& acts, F&& row) {
    const int64_t stride = linear.act_layout().bytes_per_token;
    Scratch& own = scratch(member);
    if (count <= kAlone) {
      for (int32_t i = 0; i < count; ++i) linear.prepare(row(i, own), own.acts.data() + i * stride);
      return own.acts.data();
    }
    member.for_tiles(count,
                     [&](int64_t i) { linear.prepare(row(static_cast<int32_t>(i), own), acts.data() + i * stride); });
    member.barrier();
    return acts.data();
  }

  // moe.cc: x[count, hidden] += the feed-forward block of it.
  void feed_forward(Member& member, const Layer& layer, float* x, int32_t count);
  void experts(Member& member, const Layer& layer, float* x, int32_t count);
  void route(const float* logits, int32_t* chosen, float* weights, float* probabilities);
  void group_by_expert(Scratch& own, int32_t count);

  // head.cc
  void head(Member& member);
  bool needs_logits(int32_t row) const;
  void plan_head();
  void choose_token(Scratch& own, int32_t row, const Largest* largest, const float* logits);

  const CpuModel& model_;
  const KvCache& cache_;
  const int32_t block_size_;

  Step* step_ = nullptr;
  std::vector<Slot>* slots_ = nullptr;
  StageClock clock_;
  std::vector<Chunk> chunks_;
  int32_t num_chunks_ = 0;
  std::vector<int32_t> row_groups_;    // first rows of runs of rows of one slot, and the end
  std::vector<int32_t> head_order_;    // logit rows in the order of their products, head_rows_ after head_rows_
  std::vector<int32_t> head_place_;    // of each row among its pass's products
  std::vector<int32_t> head_largest_;  // how many of each pass's products need no logits; they come first

  std::vector<Scratch> scratch_;
  Buffer<float> cos_, sin_;  // [chunk][head_dim / 2]
  Buffer<float> x_;          // [chunk][hidden] the residual stream
  Buffer<float> wanted_x_;   // [chunk][hidden] of tokens with logit rows
  Buffer<float> qkv_;        // [chunk][q, k, v]
  Buffer<float> attention_;  // [chunk][q]
  Buffer<float> partials_;   // [kMaxPartialRows][partial_floats]
  Buffer<float> inner_;      // [chunk][intermediate], or [chunk * experts_per_token][moe_intermediate]
  // Prepared activations, of what is as wide as hidden and of inner_: with one buffer a token's place would be another
  // for each of them, and in a core's cache that had other tokens before.
  Buffer<uint8_t> acts_, inner_acts_;
  Buffer<uint8_t> router_acts_;  // of the router, where experts want another layout
  Buffer<float> router_logits_;  // [chunk][num_experts]
  Buffer<int32_t> chosen_;       // [chunk][experts_per_token] ranked
  Buffer<float> chosen_weights_;
  Buffer<float> expert_out_;       // [chunk * experts_per_token][hidden] by expert
  std::vector<int32_t> identity_;  // 0, 1, 2 ...
  int32_t head_rows_ = 0;          // logit rows at once
  Buffer<float> row_x_;            // [max_logit_rows][hidden]
  Buffer<float> logits_;           // [head_rows_][vocab]
  int64_t largest_stride_ = 0;
  Buffer<Largest> largest_;  // [head_rows_][largest_stride_] of every block of logits
};

}  // namespace scalellm
