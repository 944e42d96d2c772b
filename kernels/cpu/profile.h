// Stage timings of a step as thread 0 sees them, and the bytes and multiply-adds each stage had to do. Off, a stage
// costs one predictable branch.
#pragma once
#include <chrono>
#include <cstdint>

#include "scalellm.h"

namespace scalellm {

inline uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

class Profile {
 public:
  void begin(bool enabled) {
    enabled_ = enabled;
    if (enabled_) last_ = now_ns();
  }

  // Ends a stage: the time since the last mark is the stage's. Called by member 0.
  void mark(int stage, int64_t bytes, int64_t ops) {
    if (!enabled_) return;
    const uint64_t now = now_ns();
    totals.stage_ns[stage] += now - last_;
    totals.stage_bytes[stage] += static_cast<uint64_t>(bytes);
    totals.stage_ops[stage] += static_cast<uint64_t>(ops);
    last_ = now;
  }

  sl_profile totals = {};

 private:
  bool enabled_ = false;
  uint64_t last_ = 0;
};

}  // namespace scalellm
