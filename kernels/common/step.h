// One step as the caller described it: a checked copy of the array, views of its sections, and room for the results.
#pragma once
#include <cstdint>
#include <vector>

#include "common/buffer.h"
#include "common/profile.h"
#include "scalellm.h"

namespace scalellm {

// What a step may ask for.
struct StepLimits {
  int32_t max_tokens, max_seqs, max_rows, max_model_len;
  int32_t num_slots, num_blocks, block_size, vocab_size;
  int32_t widest_window;  // 0: some layer attends to everything
};

struct Step {
  std::vector<int32_t> words;
  int32_t num_tokens = 0, num_seqs = 0, num_rows = 0, table_stride = 0, num_copies = 0, flags = 0;
  const int32_t* input_ids = nullptr;
  const int32_t* positions = nullptr;
  const int32_t* slot_mapping = nullptr;
  const int32_t* cu_seqlens = nullptr;
  const int32_t* context_lens = nullptr;
  const int32_t* block_tables = nullptr;
  const int32_t* row_tokens = nullptr;
  const int32_t* row_slots = nullptr;
  const int32_t* row_targets = nullptr;
  const int32_t* row_tops = nullptr;
  const int32_t* row_drafts = nullptr;
  const int32_t* copies = nullptr;
  int32_t max_top = 0;

  std::vector<int32_t> tokens;  // input_ids, for the backend to replace slots by what they sampled last
  std::vector<int32_t> result;  // as documented in scalellm.h
  Buffer<float> logits;         // [num_rows, vocab] where asked for

  uint64_t start_ns = 0, end_ns = 0;  // when the device began and ended it, on now_ns()'s clock
  bool profiled = false;
  StageTotals stages;

  int32_t* token_ids() { return result.data(); }
  int32_t* ranks() { return result.data() + num_rows; }
  float* logprobs() { return reinterpret_cast<float*>(result.data() + 2 * num_rows); }
  int32_t* top_ids(int32_t row) { return result.data() + 3 * num_rows + row * max_top; }
  float* top_logprobs(int32_t row) {
    return reinterpret_cast<float*>(result.data() + (3 + max_top) * num_rows + row * max_top);
  }
  const int32_t* table(int32_t seq) const { return block_tables + int64_t{seq} * table_stride; }
  bool samples(int32_t row) const { return row_targets[row] < 0; }

  // Copies and checks `source`; throws SL_ERR_ARGUMENT naming the first field that is wrong. Slots are checked for
  // their range alone. Leaves room for the results.
  void assign(const int32_t* source, int64_t num_words, const StepLimits& limits);

 private:
  void lay_out(int64_t num_words, const StepLimits& limits);
  void check_sequences(const StepLimits& limits) const;
  void check_rows(const StepLimits& limits);
};

}  // namespace scalellm
