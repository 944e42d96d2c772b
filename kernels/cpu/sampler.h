// Choosing a token from a row of logits, and its log-probabilities. scalellm.h has the order of operations.
#pragma once
#include <cstdint>
#include <vector>

#include "common/buffer.h"
#include "common/slot.h"
#include "cpu/kernels.h"

namespace scalellm {

struct Logprobs {
  int32_t rank = 0;            // 1 + how many raw logits are above the token's
  float logprob = 0;           // log softmax of the raw logits
  int32_t* top_ids = nullptr;  // [top]
  float* top_logprobs = nullptr;
};

// One thread's scratch for rows of vocab_size logits.
class Sampler {
 public:
  Sampler(const Kernels& kernels, int32_t vocab_size);

  // Whether the slot's next output is the token of the largest logit, ties to the lowest id.
  static bool takes_largest(const Slot& slot);

  // A token for the slot's next output; does not change the slot.
  int32_t sample(const Slot& slot, const float* logits);

  // `top`: how many top entries to fill. Entries that do not exist (NaN) are -1 and 0.
  void logprobs(const float* logits, int32_t token, int32_t top, Logprobs* out);

  void add_memory(std::vector<MemoryRange>* out);

 private:
  const float* adjusted(const Slot& slot, const float* logits);
  int32_t draw(const Slot& slot, const float* logits);
  int32_t draw_any(double u, double total) const;
  int32_t draw_from_ids(double u, int32_t count) const;
  int32_t keep_top_k(const float* logits, int32_t k);
  int32_t keep_top_p(const float* logits, float max, const Slot& slot, double total);
  int32_t cut_top_p(const float* logits, int32_t count, float top_p);

  const Kernels& kernels_;
  int32_t vocab_size_;
  Buffer<float> work_;       // [vocab] adjusted logits
  Buffer<float> p_;          // [vocab] e^((logit - max) / temperature)
  Buffer<float> sums_;       // [vocab / kSumBlock] of p_
  Buffer<float> block_max_;  // [vocab / kMaxBlock]
  Buffer<int32_t> ids_;      // [vocab] candidates
  Buffer<int32_t> band_;     // [vocab] the last band of top_p
};

}  // namespace scalellm
