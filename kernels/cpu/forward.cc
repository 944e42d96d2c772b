// Chunks, layers and attention of a step.
#include "cpu/forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace scalellm {
namespace {

// Logits held at once: enough rows to read the head's weights rarely, few enough to bound memory.
constexpr int64_t kLogitBytes = 32 << 20;
constexpr int32_t kMinHeadRows = 16, kMaxHeadRows = 128;

// The most bytes that one token's activations take in any product of the model.
int64_t widest_acts(const CpuModel& model) {
  int64_t most = model.lm_head->act_layout().bytes_per_token;
  const auto consider = [&](const std::unique_ptr<Linear>& linear) {
    if (linear) most = std::max(most, linear->act_layout().bytes_per_token);
  };
  for (const Layer& layer : model.layers) {
    for (const auto* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down, &layer.router}) consider(*linear);
    if (!layer.router) continue;
    consider(layer.expert_gate_up[0]);
    consider(layer.expert_down[0]);
  }
  return most;
}

}  // namespace

Forward::Scratch::Scratch(const CpuModel& model, int64_t act_bytes)
    : row(std::max({model.hidden_size, model.q_size(), model.num_experts})),
      queries(model.q_size() / model.num_kv_heads),
      merge(partial_floats(model.head_dim)),
      attend(attend_scratch_floats(model.head_dim)),
      acts(kAlone * act_bytes),
      sampler(*model.kernels, model.vocab_size) {
  const size_t entries = static_cast<size_t>(kChunkTokens) * static_cast<size_t>(model.experts_per_token);
  ahead.reserve(kMostAhead);
  expert_begin.resize(static_cast<size_t>(model.num_experts) + 1);
  entry_tokens.resize(entries);
  entry_of.resize(entries);
}

Forward::Forward(const CpuModel& model, const sl_engine_config& config, const KvCache& cache, int most_threads)
    : model_(model), cache_(cache), block_size_(config.block_size) {
  const int64_t chunk = std::min(kChunkTokens, config.max_batched_tokens), hidden = model.hidden_size;
  const bool has_experts = model.num_experts > 0;
  const int64_t entries = has_experts ? chunk * model.experts_per_token : 0;
  const int64_t act_bytes = (widest_acts(model) + 63) / 64 * 64;
  for (int i = 0; i < most_threads; ++i) scratch_.emplace_back(model, act_bytes);
  head_rows_ = static_cast<int32_t>(
      std::clamp<int64_t>(kLogitBytes / (4 * int64_t{model.vocab_size}), kMinHeadRows, kMaxHeadRows));
  head_rows_ = std::min(head_rows_, std::max(config.max_logit_rows, 1));
  cos_ = Buffer<float>(chunk * model.head_dim / 2);
  sin_ = Buffer<float>(chunk * model.head_dim / 2);
  x_ = Buffer<float>(chunk * hidden);
  wanted_x_ = Buffer<float>(chunk * hidden);
  qkv_ = Buffer<float>(chunk * model.qkv_size());
  attention_ = Buffer<float>(chunk * model.q_size());
  partials_ = Buffer<float>(kMaxPartialRows * partial_floats(model.head_dim));
  inner_ = Buffer<float>(std::max(chunk * model.intermediate_size, entries * model.moe_intermediate_size));
  acts_ = Buffer<uint8_t>(act_bytes * std::max<int64_t>(chunk, head_rows_));
  inner_acts_ = Buffer<uint8_t>(act_bytes * std::max<int64_t>(chunk, entries));
  row_x_ = Buffer<float>(int64_t{config.max_logit_rows} * hidden);
  logits_ = Buffer<float>(int64_t{head_rows_} * model.vocab_size);
  // A line more than a row needs, lest the same block of all rows share a set of the cache.
  largest_stride_ = (model.lm_head->blocks() + 15) / 8 * 8;
  largest_ = Buffer<Largest>(head_rows_ * largest_stride_);
  if (!has_experts) return;
  router_acts_ = Buffer<uint8_t>(act_bytes * chunk);
  router_logits_ = Buffer<float>(chunk * model.num_experts);
  chosen_ = Buffer<int32_t>(entries);
  chosen_weights_ = Buffer<float>(entries);
  expert_out_ = Buffer<float>(entries * hidden);
  for (int32_t i = 0; i < entries; ++i) identity_.push_back(i);
}

std::vector<MemoryRange> Forward::workspace() {
  std::vector<MemoryRange> out;
  const auto add = [&](auto&... buffers) { (out.push_back(buffers.range()), ...); };
  add(cos_, sin_, x_, wanted_x_, qkv_, attention_, partials_, inner_, acts_, inner_acts_, router_acts_, router_logits_,
      chosen_, chosen_weights_, expert_out_, row_x_, logits_, largest_);
  for (Scratch& s : scratch_) {
    add(s.row, s.queries, s.merge, s.attend, s.acts);
    s.sampler.add_memory(&out);
  }
  return out;
}

void Forward::mark(const Member& member, int stage, int64_t bytes, int64_t ops) {
  if (member.index() == 0) clock_.mark(stage, bytes, ops);
}

void Forward::mark(const Member& member, int stage, const Linear& linear, int64_t tokens) {
  mark(member, stage, linear.weight_bytes(), linear.rows() * linear.cols() * tokens);
}

uint64_t Forward::run(Step& step, std::vector<Slot>& slots, Team& team) {
  step_ = &step;
  slots_ = &slots;
  clock_.begin(step.profiled ? &step.stages : nullptr);
  for (int32_t& token : step.tokens) {
    if (token < 0) token = slots[static_cast<size_t>(-1 - token)].last_token();
  }
  num_chunks_ = plan_step(step, model_.num_kv_heads, model_.num_heads / model_.num_kv_heads, &chunks_);
  row_groups_.clear();
  for (int32_t r = 0; r < step.num_rows; ++r) {
    if (r == 0 || step.row_slots[r] < 0 || step.row_slots[r] != step.row_slots[r - 1]) row_groups_.push_back(r);
  }
  row_groups_.push_back(step.num_rows);
  plan_head();
  team.run([&](Member& member) {
    const uint64_t start = thread_cpu_ns();
    run_member(member);
    scratch(member).cpu_ns = thread_cpu_ns() - start;
  });
  uint64_t cpu_ns = 0;
  for (int i = 0; i < team.size(); ++i) cpu_ns += scratch_[static_cast<size_t>(i)].cpu_ns;
  return cpu_ns;
}

void Forward::run_member(Member& member) {
  if (step_->num_copies > 0) copy_blocks(member);
  for (int32_t c = 0; c < num_chunks_; ++c) {
    const Chunk& chunk = chunks_[static_cast<size_t>(c)];
    embed(member, chunk);
    for (int32_t i = 0; i < model_.num_layers; ++i) layer(member, chunk, i);
    const int64_t hidden = model_.hidden_size;
    const float* x = chunk.wanted.tokens.size() < chunk.all.tokens.size() ? wanted_x_.data() : x_.data();
    member.for_tiles(chunk.row_end - chunk.row_begin, [&](int64_t i) {
      const int64_t query = chunk.row_queries[static_cast<size_t>(i)];
      std::copy_n(x + query * hidden, hidden, row_x_.data() + (chunk.row_begin + i) * hidden);
    });
    member.barrier();
  }
  head(member);
}

void Forward::copy_blocks(Member& member) {
  member.for_tiles(model_.num_layers, [&](int64_t layer) {
    for (int32_t i = 0; i < step_->num_copies; ++i) {
      cache_.copy_block(static_cast<int32_t>(layer), step_->copies[2 * i], step_->copies[2 * i + 1]);
    }
  });
  member.barrier();
  mark(member, SL_STAGE_OTHER);
}

// Token rows and the rotation of their positions, computed in double so that long contexts keep their phase.
void Forward::embed(Member& member, const Chunk& chunk) {
  const int32_t half = model_.head_dim / 2;
  member.for_tiles(chunk.size(), [&](int64_t i) {
    const int32_t token = chunk.begin + static_cast<int32_t>(i);
    model_.embedding.row(step_->tokens[static_cast<size_t>(token)], x_.data() + i * model_.hidden_size);
    for (int32_t d = 0; d < half; ++d) {
      const double angle = step_->positions[token] * static_cast<double>(model_.rope_inv_freq[static_cast<size_t>(d)]);
      cos_[i * half + d] = static_cast<float>(std::cos(angle) * static_cast<double>(model_.rope_attention_factor));
      sin_[i * half + d] = static_cast<float>(std::sin(angle) * static_cast<double>(model_.rope_attention_factor));
    }
  });
  member.barrier();
  mark(member, SL_STAGE_EMBED);
}

// The last layer needs the keys and values of every token, and the rest of only those whose logits are asked for.
void Forward::layer(Member& member, const Chunk& chunk, int32_t index) {
  const Layer& layer = model_.layers[static_cast<size_t>(index)];
  const Kernels& kernels = *model_.kernels;
  const int64_t hidden = model_.hidden_size, qkv_size = model_.qkv_size();

  const uint8_t* acts = prepare(member, *layer.qkv, chunk.size(), acts_, [&](int32_t i, Scratch& own) {
    kernels.rms_norm(x_.data() + i * hidden, layer.attn_norm.data(), model_.rms_norm_eps, hidden, own.row.data());
    return own.row.data();
  });
  mark(member, SL_STAGE_NORM);
  layer.qkv->run(member, acts, chunk.size(), qkv_.data(), qkv_size, Store::kAssign, layer.qkv_bias.data());
  member.barrier();
  mark(member, SL_STAGE_QKV, *layer.qkv, chunk.size());
  const bool last = index + 1 == model_.num_layers;
  const AttendPlan& plan = last ? chunk.wanted : chunk.all;
  const int32_t count = static_cast<int32_t>(plan.tokens.size());
  // A lone token per sequence is rotated and stored by the tile that attends for it, which saves a barrier.
  const bool rotate_first = !chunk.decodes || count < chunk.size();
  if (rotate_first) {
    member.for_tiles(chunk.size(), [&](int64_t i) {
      const int32_t token = static_cast<int32_t>(i);
      float* q = qkv_.data() + i * qkv_size;
      rotate(token, q, model_.num_heads, layer.q_norm);
      rotate(token, q + model_.q_size(), model_.num_kv_heads, layer.k_norm);
      for (int32_t h = 0; h < model_.num_kv_heads; ++h) store(chunk, index, token, h);
    });
    member.barrier();
    mark(member, SL_STAGE_ROPE_KV);
  }
  if (count == 0) return;
  attend(member, chunk, plan, index, rotate_first);
  const bool fewer = count < chunk.size();
  float* x = fewer ? wanted_x_.data() : x_.data();
  if (fewer) {
    member.for_tiles(count, [&](int64_t i) {
      std::copy_n(x_.data() + plan.tokens[static_cast<size_t>(i)] * hidden, hidden, x + i * hidden);
    });
    member.barrier();
  }
  acts = prepare(member, *layer.o, count, acts_, [&](int32_t i, Scratch& own) { return attention_row(plan, i, own); });
  mark(member, SL_STAGE_NORM);
  layer.o->run(member, acts, count, x, hidden, Store::kAdd, layer.o_bias.data());
  member.barrier();
  mark(member, SL_STAGE_O, *layer.o, count);
  feed_forward(member, layer, x, count);
}

// The norm, where the model has one, and the rotation of some query or key heads of one token.
void Forward::rotate(int32_t token, float* heads, int32_t count, const Buffer<float>& norm) {
  const Kernels& kernels = *model_.kernels;
  const int32_t dim = model_.head_dim, half = dim / 2;
  for (int32_t h = 0; h < count && !norm.empty(); ++h) {
    kernels.rms_norm(heads + h * dim, norm.data(), model_.rms_norm_eps, dim, heads + h * dim);
  }
  kernels.rope(heads, cos_.data() + token * half, sin_.data() + token * half, count, dim);
}

// Writes a token's rotated key and its value of one KV head to the cache.
void Forward::store(const Chunk& chunk, int32_t index, int32_t token, int32_t kv_head) {
  const int32_t place = step_->slot_mapping[chunk.begin + token];
  const float* k = qkv_.data() + int64_t{token} * model_.qkv_size() + model_.q_size() + kv_head * model_.head_dim;
  model_.kernels->kv_write(cache_.layout(), cache_.head(index, place / block_size_, kv_head), place % block_size_, k,
                           k + model_.kv_size());
}

// The keys and values of an item, if it is short of arithmetic: those of a lone token.
void Forward::list_ahead(const AttendPlan& plan, int32_t index, int64_t item_index,
                         std::vector<KvRange>* ranges) const {
  ranges->clear();
  if (item_index < 0) return;
  const AttendItem& item = plan.items[static_cast<size_t>(item_index / model_.num_kv_heads)];
  if (item.count > 1) return;
  const int32_t kv_head = static_cast<int32_t>(item_index % model_.num_kv_heads);
  const int32_t position = plan.positions[static_cast<size_t>(item.first)];
  const int32_t window = model_.layers[static_cast<size_t>(index)].window;
  int32_t begin = window > 0 ? std::max(0, position - window + 1) : 0, end = position + 1;
  if (item.segment >= 0) {
    begin = std::max(begin, item.segment * kSegment);
    end = std::min(end, (item.segment + 1) * kSegment);
  }
  const KvLayout& l = cache_.layout();
  for (int32_t at = begin / block_size_ * block_size_; at < end && ranges->size() + 3 <= kMostAhead;
       at += block_size_) {
    const uint8_t* data = cache_.head(index, step_->table(item.seq)[at / block_size_], kv_head);
    const int64_t tokens = std::min(block_size_, end - at), groups = (tokens + l.group - 1) / l.group;
    ranges->push_back({data, groups * l.group * l.head_dim * l.value_bytes});
    ranges->push_back({data + l.v_offset, tokens * l.padded_dim * l.value_bytes});
    if (l.scale_offset < l.head_bytes) ranges->push_back({data + l.scale_offset, l.head_bytes - l.scale_offset});
  }
}

void Forward::attend(Member& member, const Chunk& chunk, const AttendPlan& plan, int32_t index, bool rotated) {
  const Layer& layer = model_.layers[static_cast<size_t>(index)];
  const int32_t kv_heads = model_.num_kv_heads, group = model_.num_heads / kv_heads, dim = model_.head_dim;
  const int64_t stride = partial_floats(dim);
  Scratch& own = scratch(member);
  const auto attend_item = [&](int64_t i) {
    const AttendItem& item = plan.items[static_cast<size_t>(i / kv_heads)];
    const int32_t kv_head = static_cast<int32_t>(i % kv_heads);
    AttendArgs args = {};
    args.layout = &cache_.layout();
    args.layer = cache_.layer(index);
    args.table = step_->table(item.seq);
    args.kv_head = kv_head;
    args.num_heads = group;
    args.num_queries = item.count;
    args.tokens = plan.tokens.data() + item.first;
    args.positions = plan.positions.data() + item.first;
    args.window = layer.window;
    args.segment = item.segment;
    args.q = qkv_.data() + kv_head * group * dim;
    args.q_stride = model_.qkv_size();
    args.out = attention_.data() + kv_head * group * dim;
    args.out_stride = model_.q_size();
    args.partials = partials_.data() + (item.partial_row + kv_head * item.head_rows) * stride;
    args.scratch = own.attend.data();
    if (!rotated) {
      const int32_t token = args.tokens[0];
      std::copy_n(args.q + token * args.q_stride, group * dim, own.queries.data());
      rotate(token, own.queries.data(), group, layer.q_norm);
      args.q = own.queries.data();
      args.q_stride = 0;
      // Only the tile with the token's own position reads its key.
      if (item.segment < 0 || item.segment == args.positions[0] / kSegment) {
        rotate(token, qkv_.data() + token * model_.qkv_size() + model_.q_size() + kv_head * dim, 1, layer.k_norm);
        store(chunk, index, token, kv_head);
      }
    }
    list_ahead(plan, index, i - 1, &own.ahead);
    args.ahead = own.ahead.data();
    args.num_ahead = static_cast<int32_t>(own.ahead.size());
    model_.kernels->attend(args);
  };
  member.for_tiles(static_cast<int64_t>(plan.items.size()) * kv_heads, attend_item, Member::kLastFirst);
  member.barrier();
  const int64_t token_bytes = cache_.layout().block_bytes / block_size_;
  mark(member, SL_STAGE_ATTENTION, plan.contexts * token_bytes, plan.keys * 2 * model_.q_size());
}

// A query's attention output, float32[q_size]: finished, or merged from its segments into scratch.row.
const float* Forward::attention_row(const AttendPlan& plan, int32_t query, Scratch& own) {
  const Partials& p = plan.partials[static_cast<size_t>(query)];
  if (p.count == 0) {
    return attention_.data() + int64_t{plan.tokens[static_cast<size_t>(query)]} * model_.q_size();
  }
  const int32_t group = model_.num_heads / model_.num_kv_heads;
  const int64_t stride = partial_floats(model_.head_dim);
  for (int32_t h = 0; h < model_.num_heads; ++h) {
    const float* first = partials_.data() + (p.row + h / group * p.head_rows + h % group) * stride;
    model_.kernels->attend_combine(first, p.count, p.stride * stride, model_.head_dim, own.merge.data(),
                                   own.row.data() + h * model_.head_dim);
  }
  return own.row.data();
}

}  // namespace scalellm
