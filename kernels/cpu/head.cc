// Logit rows: final norm, lm_head, sampling and log-probabilities, a bounded number of rows at a time.
#include <algorithm>
#include <numeric>

#include "cpu/forward.h"

namespace scalellm {
namespace {

// Whether a draft before this row was rejected in this step, which drops the row.
bool follows_rejection(Step& step, int32_t row) {
  if (row == 0 || step.row_slots[row] < 0 || step.row_slots[row] != step.row_slots[row - 1]) return false;
  const int32_t token = step.token_ids()[row - 1], draft = step.row_drafts[row - 1];
  return token == -1 || (draft >= 0 && token != draft);
}

// As Kernels::argmax of all products would have it.
int32_t row_of_largest(const Largest* largest, int64_t blocks) {
  Largest best = {0, -1};
  for (const Largest* at = largest; at < largest + blocks; ++at) {
    if (at->row >= 0 && (best.row < 0 || at->value > best.value)) best = *at;
  }
  return std::max(best.row, 0);
}

}  // namespace

// Whether a row's token follows from its largest logit, or is given.
bool Forward::needs_logits(int32_t row) const {
  const Step& step = *step_;
  if (!step.logits.empty() || step.row_tops[row] >= 0) return true;
  return step.samples(row) && !Sampler::takes_largest((*slots_)[static_cast<size_t>(step.row_slots[row])]);
}

// Orders the rows of every pass, those first that need no logits. What a slot masks can only become less while its rows
// are sampled.
void Forward::plan_head() {
  const int32_t num_rows = step_->num_rows;
  head_order_.resize(static_cast<size_t>(num_rows));
  head_place_.resize(static_cast<size_t>(num_rows));
  head_largest_.clear();
  std::iota(head_order_.begin(), head_order_.end(), 0);
  for (int32_t base = 0; base < num_rows; base += head_rows_) {
    const auto begin = head_order_.begin() + base, end = begin + std::min(head_rows_, num_rows - base);
    const auto middle = std::stable_partition(begin, end, [&](int32_t row) { return !needs_logits(row); });
    head_largest_.push_back(static_cast<int32_t>(middle - begin));
    for (auto at = begin; at < end; ++at) head_place_[static_cast<size_t>(*at)] = static_cast<int32_t>(at - begin);
  }
}

void Forward::head(Member& member) {
  const Kernels& kernels = *model_.kernels;
  const int64_t hidden = model_.hidden_size, vocab = model_.vocab_size;
  const Linear& lm_head = *model_.lm_head;
  Step& step = *step_;
  for (int32_t base = 0; base < step.num_rows; base += head_rows_) {
    const int32_t count = std::min(head_rows_, step.num_rows - base);
    const int32_t num_largest = head_largest_[static_cast<size_t>(base / head_rows_)];
    float* logits = step.logits.empty() ? logits_.data() : step.logits.data() + base * vocab;
    const uint8_t* acts = prepare(member, lm_head, count, acts_, [&](int32_t i, Scratch& own) {
      const int64_t row = head_order_[static_cast<size_t>(base + i)];
      kernels.rms_norm(row_x_.data() + row * hidden, model_.final_norm.data(), model_.rms_norm_eps, hidden,
                       own.row.data());
      return own.row.data();
    });
    mark(member, SL_STAGE_NORM);
    lm_head.run_largest(member, acts, count, num_largest, largest_.data(), largest_stride_, logits, vocab);
    member.barrier();
    mark(member, SL_STAGE_LM_HEAD, lm_head, count);
    const auto first_group = std::upper_bound(row_groups_.begin(), row_groups_.end() - 1, base) - 1;
    const auto end_group = std::lower_bound(row_groups_.begin(), row_groups_.end() - 1, base + count);
    member.for_tiles(end_group - first_group, [&](int64_t i) {
      const int32_t first = std::max(first_group[i], base), end = std::min(first_group[i + 1], base + count);
      for (int32_t row = first; row < end; ++row) {
        const int64_t place = head_place_[static_cast<size_t>(row)];
        const bool largest = place < num_largest;
        choose_token(scratch(member), row, largest ? largest_.data() + place * largest_stride_ : nullptr,
                     largest ? nullptr : logits + (place - num_largest) * vocab);
      }
    });
    member.barrier();
    mark(member, SL_STAGE_SAMPLE);
  }
}

// From the largest logits of the row's blocks, or from all its logits.
void Forward::choose_token(Scratch& own, int32_t row, const Largest* largest, const float* logits) {
  Step& step = *step_;
  if (follows_rejection(step, row)) {
    step.token_ids()[row] = -1;
    return;
  }
  int32_t token = step.row_targets[row];
  if (step.samples(row)) {
    Slot& slot = (*slots_)[static_cast<size_t>(step.row_slots[row])];
    token = largest ? row_of_largest(largest, model_.lm_head->blocks()) : own.sampler.sample(slot, logits);
    slot.commit(token);
  }
  step.token_ids()[row] = token;
  if (step.row_tops[row] < 0) return;
  Logprobs out;
  out.top_ids = step.top_ids(row);
  out.top_logprobs = step.top_logprobs(row);
  own.sampler.logprobs(logits, token, step.row_tops[row], &out);
  step.ranks()[row] = out.rank;
  step.logprobs()[row] = out.logprob;
}

}  // namespace scalellm
