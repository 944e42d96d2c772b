// An executor of toy arithmetic that behaves as a device does: launch() returns at once, the step is computed later by
// threads of the ranks, finish() waits. Tokens follow from what the KV memory holds, so a wrong table, mapping, copy or
// order of steps changes them.
//
// Every rank owns some KV heads and some rows of the vocabulary, uneven ones. Ranks exchange what the heads say of a
// token and the logits: they gather, they never add, so their number changes no bit.
#pragma once
#include <barrier>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "common/executor.h"
#include "common/model.h"
#include "common/slot.h"

namespace second {

// Murmur3's finaliser over a running hash.
uint64_t mix(uint64_t hash, uint64_t value);

struct Model final : sl_model {
  using sl_model::sl_model;
  uint64_t weights = 0;  // a hash of all of them
};

// What a test sees and controls. Events are n: step n launched, 1000 + n: computed, 2000 + n: finished.
struct Stage {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<int32_t> events;
  bool held = false;      // the device waits before the next step
  int32_t delay_us = 0;   // how long a step takes
  int32_t fail_step = 0;  // the step whose finish() throws; 0: none
  void note(int32_t event) {
    const std::lock_guard lock(mutex);
    events.push_back(event);
  }
};
Stage& stage();

class RanksExecutor final : public scalellm::Executor {
 public:
  RanksExecutor(const Model& model, const sl_engine_config& config);
  ~RanksExecutor() override;

  bool launch(scalellm::Step& step) override;
  void finish(scalellm::Step& step) override;
  void slot_set(int32_t slot, const sl_slot_params& params) override;
  void reset() override;
  scalellm::ExecutorSizes sizes() const override;
  int64_t touch(int32_t, int64_t from, int64_t) override { return from; }
  int64_t release(int32_t, int32_t) override { return 0; }

 private:
  struct Range {
    int32_t begin, end;
  };
  Range share(int32_t count, int rank) const;

  void work(int rank);
  scalellm::Step* next_step(int rank);
  void compute(scalellm::Step& step, int rank);
  void compute_token(scalellm::Step& step, int32_t seq, int32_t token, int rank);
  void compute_row(scalellm::Step& step, int32_t row);

  const Model& model_;
  const sl_engine_config config_;
  std::vector<uint64_t> kv_;  // [num_kv_heads][num_blocks * block_size]
  std::vector<scalellm::Slot> slots_;

  std::vector<uint64_t> folds_;  // [num_kv_heads] of the token being computed
  std::vector<float> logits_;    // [vocab_size] of the row being computed

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<scalellm::Step*> queue_;  // launched and not finished
  int64_t num_launched_ = 0, num_computed_ = 0, num_finished_ = 0;
  bool stop_ = false;

  std::barrier<> meeting_;
  std::vector<std::thread> ranks_;  // last: they use everything above
};

}  // namespace second
