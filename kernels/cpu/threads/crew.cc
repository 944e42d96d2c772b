// Judging a team by the processor time its members got.
#include "cpu/threads/crew.h"

#include <time.h>

#include <algorithm>

namespace scalellm {
namespace {

// Enough steps to tell a stolen core from a moment's interruption.
constexpr uint64_t kJudgeNs = 30'000'000;
constexpr int kBadInARow = 2;
// How long the kernel may leave a thread that slept on another member's core.
constexpr uint64_t kSettleNs = 10'000'000;
// A larger team that still does not get its cores is tried again after twice as long, so that trying costs little.
constexpr uint64_t kShortestHoldNs = 200'000'000, kLongestHoldNs = 1'600'000'000;

// Share of their time that members may lose: more, and one thread less would get further. Two threads with one core
// taken lose half; they also lose a third while the kernel finds memory for pages touched first, where both are still
// worth it. Larger teams lose a little at every wake-up.
double most_lost(int size) {
  return std::max(0.25, 0.8 / size);
}

}  // namespace

uint64_t thread_cpu_ns() {
  timespec t = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

Crew::Crew(int num_threads)
    : teams_(static_cast<size_t>(std::max(num_threads, 1))), size_(largest()), hold_ns_(kShortestHoldNs) {
  teams_.back() = std::make_unique<Team>(largest());
}

Team& Crew::team(uint64_t now_ns) {
  if (size_ < largest() && now_ns >= retry_ns_) {
    ++size_;
    wall_ns_ = cpu_ns_ = 0;
    retry_ns_ = now_ns + hold_ns_;
    settled_ns_ = now_ns + kSettleNs;
  }
  auto& team = teams_[static_cast<size_t>(size_ - 1)];
  if (!team) team = std::make_unique<Team>(size_);
  return *team;
}

void Crew::report(uint64_t start_ns, uint64_t end_ns, uint64_t cpu_ns) {
  if (start_ns < settled_ns_) return;
  wall_ns_ += end_ns - start_ns;
  cpu_ns_ += cpu_ns;
  if (wall_ns_ < kJudgeNs) return;
  const double lost = 1 - static_cast<double>(cpu_ns_) / (static_cast<double>(wall_ns_) * size_);
  wall_ns_ = cpu_ns_ = 0;
  if (size_ > 1 && lost > most_lost(size_)) {
    // One bad moment proves nothing, unless it comes just after others.
    const bool trying = hold_ns_ > kShortestHoldNs;
    if (++bad_ < kBadInARow && !trying) return;
    bad_ = 0;
    --size_;
    retry_ns_ = end_ns + hold_ns_;
    hold_ns_ = std::min(2 * hold_ns_, kLongestHoldNs);
    return;
  }
  bad_ = 0;
  if (size_ == largest()) hold_ns_ = kShortestHoldNs;
}

}  // namespace scalellm
