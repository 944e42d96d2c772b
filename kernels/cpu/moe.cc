// The feed-forward block: dense, or a mixture of experts (Shazeer et al. 2017; Mixtral, arXiv 2401.04088): the router
// picks experts_per_token experts for each token and their outputs are added with the router's weights, in order of
// rank.
#include <algorithm>
#include <limits>

#include "cpu/forward.h"

namespace scalellm {

void Forward::feed_forward(Member& member, const Layer& layer, float* x, int32_t count) {
  if (layer.router) return experts(member, layer, x, count);
  const Kernels& kernels = *model_.kernels;
  const int64_t hidden = model_.hidden_size, inner = model_.intermediate_size;
  const uint8_t* acts = prepare(member, *layer.gate_up, count, acts_, [&](int32_t i, Scratch& own) {
    kernels.rms_norm(x + i * hidden, layer.ffn_norm.data(), model_.rms_norm_eps, hidden, own.row.data());
    return own.row.data();
  });
  mark(member, SL_STAGE_NORM);
  layer.gate_up->run(member, acts, count, inner_.data(), inner, Store::kAssign, nullptr);
  member.barrier();
  mark(member, SL_STAGE_GATE_UP, layer.gate_up->weight_bytes(), 2 * inner * hidden * count);
  acts =
      prepare(member, *layer.down, count, inner_acts_, [&](int32_t i, Scratch&) { return inner_.data() + i * inner; });
  mark(member, SL_STAGE_NORM);
  layer.down->run(member, acts, count, x, hidden, Store::kAdd, nullptr);
  member.barrier();
  mark(member, SL_STAGE_DOWN, *layer.down, count);
}

void Forward::experts(Member& member, const Layer& layer, float* x, int32_t count) {
  const Kernels& kernels = *model_.kernels;
  const int64_t hidden = model_.hidden_size, inner = model_.moe_intermediate_size;
  const int32_t chosen = model_.experts_per_token;
  Scratch& own = scratch(member);
  const Linear& any_gate_up = *layer.expert_gate_up[0];
  const Linear& any_down = *layer.expert_down[0];
  const int64_t router_bytes = layer.router->act_layout().bytes_per_token;

  const int64_t act_bytes = any_gate_up.act_layout().bytes_per_token;
  member.for_tiles(count, [&](int64_t i) {
    kernels.rms_norm(x + i * hidden, layer.ffn_norm.data(), model_.rms_norm_eps, hidden, own.row.data());
    layer.router->prepare(own.row.data(), router_acts_.data() + i * router_bytes);
    any_gate_up.prepare(own.row.data(), acts_.data() + i * act_bytes);
  });
  member.barrier();
  mark(member, SL_STAGE_NORM);
  layer.router->run(member, router_acts_.data(), count, router_logits_.data(), model_.num_experts, Store::kAssign,
                    nullptr);
  member.barrier();
  member.for_tiles(count, [&](int64_t i) {
    route(router_logits_.data() + i * model_.num_experts, chosen_.data() + i * chosen,
          chosen_weights_.data() + i * chosen, own.row.data());
  });
  member.barrier();
  group_by_expert(own, count);
  mark(member, SL_STAGE_MOE_ROUTE, *layer.router, count);

  const auto each_expert = [&](auto&& run) {
    int64_t bytes = 0;
    for (int32_t e = 0; e < model_.num_experts; ++e) {
      const int32_t begin = own.expert_begin[static_cast<size_t>(e)],
                    end = own.expert_begin[static_cast<size_t>(e) + 1];
      if (begin < end) bytes += run(static_cast<size_t>(e), begin, end - begin);
    }
    member.barrier();
    return bytes;
  };
  const int32_t entries = count * chosen;
  int64_t bytes = each_expert([&](size_t e, int32_t begin, int32_t tokens) {
    layer.expert_gate_up[e]->run_gathered(member, acts_.data(), own.entry_tokens.data() + begin, tokens,
                                          inner_.data() + begin * inner, inner);
    return layer.expert_gate_up[e]->weight_bytes();
  });
  mark(member, SL_STAGE_GATE_UP, bytes, 2 * inner * hidden * entries);
  const int64_t down_bytes = any_down.act_layout().bytes_per_token;
  member.for_tiles(
      entries, [&](int64_t i) { any_down.prepare(inner_.data() + i * inner, inner_acts_.data() + i * down_bytes); });
  member.barrier();
  mark(member, SL_STAGE_NORM);
  bytes = each_expert([&](size_t e, int32_t begin, int32_t tokens) {
    layer.expert_down[e]->run_gathered(member, inner_acts_.data(), identity_.data() + begin, tokens,
                                       expert_out_.data() + begin * hidden, hidden);
    return layer.expert_down[e]->weight_bytes();
  });
  member.for_tiles(count, [&](int64_t i) {
    for (int32_t rank = 0; rank < chosen; ++rank) {
      const int64_t entry = own.entry_of[static_cast<size_t>(i * chosen + rank)];
      kernels.add_scaled(chosen_weights_[i * chosen + rank], expert_out_.data() + entry * hidden, hidden,
                         x + i * hidden);
    }
  });
  member.barrier();
  mark(member, SL_STAGE_DOWN, bytes, inner * hidden * entries);
}

// The experts_per_token most likely experts, ranked, ties to the lowest index, and their weights.
void Forward::route(const float* logits, int32_t* chosen, float* weights, float* probabilities) {
  const int32_t n = model_.num_experts, k = model_.experts_per_token;
  const Kernels& kernels = *model_.kernels;
  std::copy_n(logits, n, probabilities);
  float sum = 0;
  for (int32_t rank = 0; rank < k; ++rank) {
    // A chosen logit becomes -inf; should only those be left (NaN logits), take the lowest index not yet chosen.
    int32_t best = kernels.argmax(probabilities, n);
    for (int32_t i = 0; i < rank; ++i) {
      if (chosen[i] == best) {
        best = 0;
        while (std::find(chosen, chosen + rank, best) != chosen + rank) ++best;
        break;
      }
    }
    chosen[rank] = best;
    probabilities[best] = -std::numeric_limits<float>::infinity();
  }
  const double total = kernels.exp_sum(logits, n, logits[chosen[0]], 1.0f, probabilities, nullptr);
  for (int32_t rank = 0; rank < k; ++rank) {
    weights[rank] = static_cast<float>(static_cast<double>(probabilities[chosen[rank]]) / total);
    sum += weights[rank];
  }
  if (!(model_.flags & SL_FLAG_NORM_TOPK_PROB)) return;
  for (int32_t rank = 0; rank < k; ++rank) weights[rank] /= sum;
}

// A counting sort of all choices by expert, by each member for itself: cheaper than sharing it.
void Forward::group_by_expert(Scratch& own, int32_t count) {
  const int32_t k = model_.experts_per_token, entries = count * k;
  std::fill(own.expert_begin.begin(), own.expert_begin.end(), 0);
  for (int32_t i = 0; i < entries; ++i) ++own.expert_begin[static_cast<size_t>(chosen_[i]) + 1];
  for (size_t e = 1; e < own.expert_begin.size(); ++e) own.expert_begin[e] += own.expert_begin[e - 1];
  // Placing advances each beginning to its end, that is, to the next expert's beginning.
  for (int32_t i = 0; i < entries; ++i) {
    const int32_t entry = own.expert_begin[static_cast<size_t>(chosen_[i])]++;
    own.entry_of[static_cast<size_t>(i)] = entry;
    own.entry_tokens[static_cast<size_t>(entry)] = i / k;
  }
  std::move_backward(own.expert_begin.begin(), own.expert_begin.end() - 1, own.expert_begin.end());
  own.expert_begin[0] = 0;
}

}  // namespace scalellm
