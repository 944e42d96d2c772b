// Stage timings of a step as the backend's first thread sees them, and the bytes and multiply-adds each stage had to
// do. Off, a stage costs one predictable branch.
#pragma once
#include <chrono>
#include <cstdint>

#include "scalellm.h"

namespace scalellm {

inline uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

// Of one step, by SL_STAGE_*; zero where it is not profiled.
struct StageTotals {
  uint64_t ns[SL_NUM_STAGES] = {};
  uint64_t bytes[SL_NUM_STAGES] = {};
  uint64_t ops[SL_NUM_STAGES] = {};
};

// Divides a step's time among its stages.
class StageClock {
 public:
  // `totals` null: off.
  void begin(StageTotals* totals) {
    totals_ = totals;
    if (totals_) last_ = now_ns();
  }

  // Ends a stage: the time since the last mark is the stage's.
  void mark(int stage, int64_t bytes, int64_t ops) {
    if (!totals_) return;
    const uint64_t now = now_ns();
    totals_->ns[stage] += now - last_;
    totals_->bytes[stage] += static_cast<uint64_t>(bytes);
    totals_->ops[stage] += static_cast<uint64_t>(ops);
    last_ = now;
  }

 private:
  StageTotals* totals_ = nullptr;
  uint64_t last_ = 0;
};

}  // namespace scalellm
