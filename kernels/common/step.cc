// Checks of a step: after them every index is in range, so that the forward pass needs none.
#include "common/step.h"

#include <algorithm>

#include "common/api.h"

namespace scalellm {
namespace {

bool within(int32_t value, int32_t low, int32_t high) {
  return value >= low && value <= high;
}

}  // namespace

void Step::assign(const int32_t* source, int64_t num_words, const StepLimits& limits) {
  require(source != nullptr, "step: null");
  require(num_words >= SL_STEP_HEADER_WORDS, "num_words: shorter than the header");
  require(source[SL_STEP_VERSION] == SL_ABI_VERSION, "version: not this library's");
  require(source[SL_STEP_NUM_WORDS] == num_words, "num_words: differs from the header");
  words.assign(source, source + num_words);
  lay_out(num_words, limits);
  check_sequences(limits);
  check_rows(limits);
  for (int32_t i = 0; i < 2 * num_copies; ++i)
    require(within(copies[i], 0, limits.num_blocks - 1), "copies: no such block");
  tokens.assign(input_ids, input_ids + num_tokens);
  start_ns = end_ns = 0;
  profiled = false;
  stages = {};
  result.assign(static_cast<size_t>(num_rows) * (3 + 2 * static_cast<size_t>(max_top)), 0);
  for (int32_t row = 0; row < num_rows; ++row) std::fill_n(top_ids(row), max_top, -1);
  logits = Buffer<float>(flags & SL_STEP_RETURN_LOGITS ? int64_t{num_rows} * limits.vocab_size : 0);
}

void Step::lay_out(int64_t num_words, const StepLimits& limits) {
  num_tokens = words[SL_STEP_NUM_TOKENS];
  num_seqs = words[SL_STEP_NUM_SEQS];
  num_rows = words[SL_STEP_NUM_ROWS];
  table_stride = words[SL_STEP_TABLE_STRIDE];
  num_copies = words[SL_STEP_NUM_COPIES];
  flags = words[SL_STEP_FLAGS];
  require(within(num_tokens, 0, limits.max_tokens), "num_tokens: not in 0..max_batched_tokens");
  require(within(num_seqs, 0, std::min(limits.max_seqs, num_tokens)),
          "num_seqs: not in 0..max_num_seqs, or above num_tokens");
  require(within(num_rows, 0, limits.max_rows), "num_rows: not in 0..max_logit_rows");
  require(within(table_stride, 0, INT32_MAX), "table_stride: negative");
  require(within(num_copies, 0, INT32_MAX / 2), "num_copies: negative or too large");
  require((flags & ~SL_STEP_RETURN_LOGITS) == 0, "flags: unknown bit");
  const int64_t expected = SL_STEP_HEADER_WORDS + 3 * int64_t{num_tokens} + 2 * int64_t{num_seqs} + 1 +
                           int64_t{num_seqs} * table_stride + 5 * int64_t{num_rows} + 2 * int64_t{num_copies};
  require(num_words == expected, "num_words: does not match the counts in the header");
  const int32_t* at = words.data() + SL_STEP_HEADER_WORDS;
  const auto section = [&](int64_t count) {
    const int32_t* begin = at;
    at += count;
    return begin;
  };
  input_ids = section(num_tokens);
  positions = section(num_tokens);
  slot_mapping = section(num_tokens);
  cu_seqlens = section(num_seqs + 1);
  context_lens = section(num_seqs);
  block_tables = section(int64_t{num_seqs} * table_stride);
  row_tokens = section(num_rows);
  row_slots = section(num_rows);
  row_targets = section(num_rows);
  row_tops = section(num_rows);
  row_drafts = section(num_rows);
  copies = section(2 * int64_t{num_copies});
}

void Step::check_sequences(const StepLimits& limits) const {
  require(cu_seqlens[0] == 0 && cu_seqlens[num_seqs] == num_tokens, "cu_seqlens: must run from 0 to num_tokens");
  for (int32_t s = 0; s < num_seqs; ++s) {
    const int32_t begin = cu_seqlens[s], end = cu_seqlens[s + 1];
    require(begin < end && end <= num_tokens, "cu_seqlens: must ascend");
    const int32_t first = positions[begin], context = context_lens[s];
    require(within(context, 1, limits.max_model_len), "context_lens: not in 1..max_model_len");
    require(first >= 0 && int64_t{first} + (end - begin) == context, "positions: do not end at context_lens");
    require((int64_t{context} + limits.block_size - 1) / limits.block_size <= table_stride,
            "block_tables: fewer blocks than the context needs");
    const int32_t visible = limits.widest_window > 0 ? std::max(0, first - limits.widest_window + 1) : 0;
    const int32_t* blocks = table(s);
    for (int32_t b = visible / limits.block_size; b <= (context - 1) / limits.block_size; ++b) {
      require(within(blocks[b], 0, limits.num_blocks - 1), "block_tables: no such block");
    }
    for (int32_t t = begin; t < end; ++t) {
      const int32_t position = first + (t - begin);
      require(positions[t] == position, "positions: must be consecutive");
      const int64_t place =
          int64_t{blocks[position / limits.block_size]} * limits.block_size + position % limits.block_size;
      require(slot_mapping[t] == place, "slot_mapping: not the token's place in its block table");
      require(within(input_ids[t], -limits.num_slots, limits.vocab_size - 1), "input_ids: no such token or slot");
    }
  }
}

void Step::check_rows(const StepLimits& limits) {
  int32_t seq = 0;
  max_top = 0;
  std::vector<int32_t> seq_of_slot(static_cast<size_t>(limits.num_slots), -1);
  for (int32_t r = 0; r < num_rows; ++r) {
    require(within(row_tokens[r], r > 0 ? row_tokens[r - 1] : 0, num_tokens - 1),
            "row_tokens: no such token, or descending");
    require(within(row_targets[r], -1, limits.vocab_size - 1), "row_targets: no such token");
    require(within(row_tops[r], -1, SL_MAX_TOP_LOGPROBS), "row_tops: not in -1..20");
    require(within(row_drafts[r], -1, samples(r) ? limits.vocab_size - 1 : -1),
            "row_drafts: no such token, or a scoring row's");
    require(within(row_slots[r], samples(r) ? 0 : -1, limits.num_slots - 1), "row_slots: no such slot");
    max_top = std::max(max_top, row_tops[r]);
    while (cu_seqlens[seq + 1] <= row_tokens[r]) ++seq;
    if (row_slots[r] < 0) continue;
    int32_t& owner = seq_of_slot[static_cast<size_t>(row_slots[r])];
    require(owner == -1 || (owner == seq && row_slots[r] == row_slots[r - 1]),
            "row_slots: rows of a slot must be adjacent");
    owner = seq;
  }
}

}  // namespace scalellm
