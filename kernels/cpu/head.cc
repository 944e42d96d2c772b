// Logit rows: final norm, lm_head, sampling and log-probabilities, a bounded number of rows at a time.
#include <algorithm>

#include "cpu/forward.h"

namespace scalellm {
namespace {

// Whether a draft before this row was rejected in this step, which drops the row.
bool follows_rejection(Step& step, int32_t row) {
  if (row == 0 || step.row_slots[row] < 0 || step.row_slots[row] != step.row_slots[row - 1]) return false;
  const int32_t token = step.token_ids()[row - 1], draft = step.row_drafts[row - 1];
  return token == -1 || (draft >= 0 && token != draft);
}

}  // namespace

void Forward::head(Member& member) {
  const Kernels& kernels = *model_.kernels;
  const int64_t hidden = model_.hidden_size, vocab = model_.vocab_size;
  const Linear& lm_head = *model_.lm_head;
  Step& step = *step_;
  for (int32_t base = 0; base < step.num_rows; base += head_rows_) {
    const int32_t count = std::min(head_rows_, step.num_rows - base);
    float* logits = step.logits.empty() ? logits_.data() : step.logits.data() + base * vocab;
    const uint8_t* acts = prepare(member, lm_head, count, [&](int32_t i, Scratch& own) {
      kernels.rms_norm(row_x_.data() + (base + i) * hidden, model_.final_norm.data(), model_.rms_norm_eps, hidden,
                       own.row.data());
      return own.row.data();
    });
    mark(member, SL_STAGE_NORM);
    lm_head.run(member, acts, count, logits, vocab, Store::kAssign, nullptr);
    member.barrier();
    mark(member, SL_STAGE_LM_HEAD, lm_head, count);
    const auto first_group = std::upper_bound(row_groups_.begin(), row_groups_.end() - 1, base) - 1;
    const auto end_group = std::lower_bound(row_groups_.begin(), row_groups_.end() - 1, base + count);
    member.for_tiles(end_group - first_group, [&](int64_t i) {
      const int32_t first = std::max(first_group[i], base), end = std::min(first_group[i + 1], base + count);
      for (int32_t row = first; row < end; ++row) sample_row(scratch(member), row, logits + (row - base) * vocab);
    });
    member.barrier();
    mark(member, SL_STAGE_SAMPLE);
  }
}

void Forward::sample_row(Scratch& own, int32_t row, const float* logits) {
  Step& step = *step_;
  if (follows_rejection(step, row)) {
    step.token_ids()[row] = -1;
    return;
  }
  int32_t token = step.row_targets[row];
  if (step.samples(row)) {
    Slot& slot = (*slots_)[static_cast<size_t>(step.row_slots[row])];
    token = own.sampler.sample(slot, logits);
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
