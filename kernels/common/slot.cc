// Sampling slots: checks, restoring after preemption, and commits of sampled tokens.
#include "common/slot.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>

#include "common/api.h"

namespace scalellm {
namespace {

void check_ids(const char* field, const int32_t* ids, int32_t count, int32_t vocab_size) {
  require(count >= 0, std::string(field) + ": negative count");
  require(ids != nullptr || count == 0, std::string(field) + ": null");
  for (int32_t i = 0; i < count; ++i) {
    require(ids[i] >= 0 && ids[i] < vocab_size, std::string(field) + ": not a token id");
  }
}

}  // namespace

void check_slot_params(const sl_slot_params& p, int32_t vocab_size) {
  require(p.struct_bytes == sizeof(sl_slot_params), "struct_bytes: not this library's sl_slot_params");
  require(p.top_k >= 0, "top_k: negative");
  require(std::isfinite(p.temperature) && p.temperature >= 0, "temperature: must be finite and not negative");
  require(p.top_p > 0 && p.top_p <= 1, "top_p: must be in (0, 1]");
  require(p.min_p >= 0 && p.min_p <= 1, "min_p: must be in [0, 1]");
  require(std::isfinite(p.repetition_penalty) && p.repetition_penalty > 0, "repetition_penalty: must be positive");
  require(std::isfinite(p.frequency_penalty), "frequency_penalty: must be finite");
  require(std::isfinite(p.presence_penalty), "presence_penalty: must be finite");
  require(p.min_tokens >= 0, "min_tokens: negative");
  check_ids("prompt_tokens", p.prompt_tokens, p.num_prompt_tokens, vocab_size);
  check_ids("output_tokens", p.output_tokens, p.num_output_tokens, vocab_size);
  check_ids("logit_bias_ids", p.logit_bias_ids, p.num_logit_bias, vocab_size);
  check_ids("stop_ids", p.stop_ids, p.num_stop_ids, vocab_size);
  require(p.logit_bias_values != nullptr || p.num_logit_bias == 0, "logit_bias_values: null");
  for (int32_t i = 0; i < p.num_logit_bias; ++i) {
    require(!std::isnan(p.logit_bias_values[i]), "logit_bias_values: NaN");
  }
}

void TokenCounts::reset(int32_t vocab_size, int64_t max_tokens) {
  if (!entries_) {
    entries_.reset(static_cast<Entry*>(std::calloc(static_cast<size_t>(vocab_size), sizeof(Entry))));
    if (!entries_) throw std::bad_alloc();
  }
  clear();
  seen_.reserve(static_cast<size_t>(std::min<int64_t>(vocab_size, max_tokens)));
}

void TokenCounts::clear() {
  for (int32_t token : seen_) entries_.get()[token] = {};
  seen_.clear();
}

void Slot::set(const sl_slot_params& p, int32_t vocab_size, int64_t max_tokens) {
  clear();
  top_k = p.top_k;
  min_tokens = p.min_tokens;
  temperature = p.temperature;
  top_p = p.top_p;
  min_p = p.min_p;
  repetition_penalty = p.repetition_penalty;
  frequency_penalty = p.frequency_penalty;
  presence_penalty = p.presence_penalty;
  seed = p.seed;
  for (int32_t i = 0; i < p.num_logit_bias; ++i) bias.push_back({p.logit_bias_ids[i], p.logit_bias_values[i]});
  stop_ids.assign(p.stop_ids, p.stop_ids + p.num_stop_ids);
  penalises_ = repetition_penalty != 1 || frequency_penalty != 0 || presence_penalty != 0;
  if (penalises_) {
    counts.reset(vocab_size, max_tokens + p.num_prompt_tokens + p.num_output_tokens);
    for (int32_t i = 0; i < p.num_prompt_tokens; ++i) counts.add_prompt(p.prompt_tokens[i]);
  }
  for (int32_t i = 0; i < p.num_output_tokens; ++i) commit(p.output_tokens[i]);
  is_set_ = true;
}

void Slot::clear() {
  is_set_ = penalises_ = false;
  last_token_ = -1;
  num_outputs_ = 0;
  bias.clear();
  stop_ids.clear();
  counts.clear();
}

void Slot::commit(int32_t token) {
  last_token_ = token;
  ++num_outputs_;
  if (penalises_) counts.add_output(token);
}

}  // namespace scalellm
