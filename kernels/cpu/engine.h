// An engine: a driver thread with its team, the KV cache, the sampling slots, and a queue of at most two steps, so that
// the next one is submitted while the current one computes.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu/forward.h"
#include "scalellm.h"

// The handle of the ABI.
struct sl_engine {
 public:
  sl_engine(const sl_model& model, const sl_engine_config& config);
  ~sl_engine();

  sl_engine_info info() const;
  void reset();
  void slot_set(int32_t slot, const sl_slot_params& params);
  int64_t submit(const int32_t* step, int64_t num_words);
  void wait(int64_t ticket, int32_t* result, int64_t num_words);
  void logits(float* out, int64_t num_floats);
  sl_profile profile(bool enable);
  int64_t touch(int32_t num_blocks, int64_t from, int64_t most);
  int64_t release(int32_t first_block, int32_t num_blocks);

 private:
  // Steps submitted and not yet waited for.
  static constexpr int kDepth = 2;
  enum class State { kFree, kQueued, kRunning, kDone, kFailed };
  struct Entry {
    State state = State::kFree;
    int64_t ticket = 0;
    uint64_t submitted_ns = 0;
    int32_t status = 0;
    std::string error;
    scalellm::Step step;
  };

  void drive();
  Entry* next_queued();
  void run(Entry& entry);
  bool busy() const;
  bool uses(const scalellm::Step& step, int32_t slot) const;
  void check_slots(const scalellm::Step& step);

  const sl_model& model_;
  const sl_engine_config config_;
  scalellm::StepLimits limits_ = {};
  scalellm::KvCache cache_;
  scalellm::Crew crew_;
  scalellm::Forward forward_;
  const std::vector<scalellm::MemoryRange> workspace_;
  std::vector<scalellm::Slot> slots_;
  std::vector<uint8_t> has_token_;  // [slots] whether "-1 - slot" has a token by the time the next step starts

  mutable std::mutex mutex_;  // guards what follows, except a running entry's step
  std::condition_variable submitted_, finished_;
  Entry entries_[kDepth];
  int64_t next_ticket_ = 1;
  int32_t epoch_ = 1;
  bool stop_ = false;
  bool profiling_ = false;
  scalellm::Profile profile_;
  uint64_t last_end_ns_ = 0;
  scalellm::Buffer<float> last_logits_;  // of the step last waited for
  int64_t last_logits_count_ = 0;
  std::atomic<int64_t> num_submitted_{0};  // for the driver's spin
  std::thread driver_;                     // last: it uses everything above
};
