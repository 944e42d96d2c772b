// An engine: tickets, epochs, times, and a queue of at most two steps over an Executor, so that the next step is
// launched while the current one computes.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/executor.h"
#include "common/model.h"
#include "common/step.h"
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
  // In the order that a step goes through them. A step that failed is done, with a status.
  enum class State { kFree, kQueued, kLaunching, kLaunched, kFinishing, kDone };
  struct Entry {
    State state = State::kFree;
    int64_t ticket = 0;
    uint64_t submitted_ns = 0;
    bool counted = false;  // in profile_
    int32_t status = SL_OK;
    std::string error;
    scalellm::Step step;
  };
  using Lock = std::unique_lock<std::mutex>;

  void drive();
  void spin(Lock& lock);
  void finish_through(Lock& lock, int64_t ticket);
  Entry* oldest(State first, State last);
  bool in_flight(const Entry& entry) const;
  bool busy() const;
  void count(Entry& entry);
  void check_slots(const scalellm::Step& step);

  const int32_t vocab_size_;
  const sl_engine_config config_;
  const scalellm::StepLimits limits_;
  const std::unique_ptr<scalellm::Executor> executor_;

  mutable std::mutex mutex_;  // guards what follows, except the step of an entry that is launching or finishing
  std::condition_variable submitted_, changed_;
  Entry entries_[kDepth];
  int64_t next_ticket_ = 1;
  int32_t epoch_ = 1;
  bool stop_ = false;
  std::vector<uint8_t> is_set_;     // [slots]
  std::vector<uint8_t> has_token_;  // [slots] whether "-1 - slot" has a token by the time the next step starts
  bool profiling_ = false;
  sl_profile profile_ = {};
  uint64_t last_end_ns_ = 0;
  scalellm::Buffer<float> last_logits_;  // of the step last waited for
  int64_t last_logits_count_ = 0;
  std::atomic<int64_t> num_submitted_{0};  // for the driver's spin
  std::thread driver_;                     // last: it uses everything above
};
