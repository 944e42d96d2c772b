// A sampling slot: one running sequence's parameters, token counts for the penalties, and place in its random stream.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "scalellm.h"

namespace scalellm {

// Throws SL_ERR_ARGUMENT naming the field.
void check_slot_params(const sl_slot_params& params, int32_t vocab_size);

// Tokens of the prompt and how often each was output: dense, because a penalty walks only the tokens seen.
class TokenCounts {
 public:
  struct Entry {
    uint32_t in_prompt : 1, outputs : 31;
  };
  // Throws std::bad_alloc; after it nothing here allocates while at most max_tokens are added.
  void reset(int32_t vocab_size, int64_t max_tokens);
  void clear();
  void add_prompt(int32_t token) { touch(token).in_prompt = 1; }
  void add_output(int32_t token) { ++touch(token).outputs; }
  const std::vector<int32_t>& seen() const { return seen_; }
  Entry operator[](int32_t token) const { return entries_.get()[token]; }

 private:
  struct Free {
    void operator()(Entry* p) const { std::free(p); }
  };
  Entry& touch(int32_t token) {
    Entry& entry = entries_.get()[token];
    if (!entry.in_prompt && !entry.outputs) seen_.push_back(token);
    return entry;
  }
  std::unique_ptr<Entry, Free> entries_;  // [vocab_size], zero where not in seen_
  std::vector<int32_t> seen_;
};

class Slot {
 public:
  // Takes checked parameters. max_tokens: the longest context.
  void set(const sl_slot_params& params, int32_t vocab_size, int64_t max_tokens);
  void clear();

  bool is_set() const { return is_set_; }
  int32_t last_token() const { return last_token_; }  // -1 before the first
  int64_t num_outputs() const { return num_outputs_; }
  void set_num_outputs(int64_t count) { num_outputs_ = count; }
  void commit(int32_t token);

  // Whether a row's logits must be changed before temperature.
  bool adjusts() const { return penalises_ || !bias.empty() || masks_stops(); }
  bool masks_stops() const { return num_outputs_ < min_tokens && !stop_ids.empty(); }
  bool penalises() const { return penalises_; }

  struct Bias {
    int32_t id;
    float value;
  };
  int32_t top_k = 0, min_tokens = 0;
  float temperature = 0, top_p = 1, min_p = 0;
  float repetition_penalty = 1, frequency_penalty = 0, presence_penalty = 0;
  uint64_t seed = 0;
  std::vector<Bias> bias;
  std::vector<int32_t> stop_ids;
  TokenCounts counts;  // kept only where a penalty is on

 private:
  bool is_set_ = false, penalises_ = false;
  int32_t last_token_ = -1;
  int64_t num_outputs_ = 0;
};

}  // namespace scalellm
