// Threads, barrier and tile counters of a Team. Waiting spins for a bounded time, because a layer's barriers come a few
// microseconds apart, and then sleeps on a futex, because a spinning thread on a core that another process wants would
// delay the very thread it waits for.
#include "cpu/team.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace scalellm {
namespace {

// Uses of for_tiles between two barriers; one more meets at a barrier by itself.
constexpr uint32_t kCounters = 16;
// A barrier's other members are at most a tile away; a run follows the last one within a step's bookkeeping.
constexpr std::chrono::microseconds kBarrierSpin{30};
constexpr std::chrono::microseconds kRunSpin{60};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A number that changes once a phase; waiters block until it has.
class Gate {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }

  void open() {
    value_.fetch_add(1);  // sequentially consistent with sleepers_: a waiter is either seen here or sees the new value
    if (sleepers_.load() > 0) syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
  }

  void wait(uint32_t seen, std::chrono::microseconds spin) {
    for (int i = 0; i < 64; ++i) {
      if (value() != seen) return;
      relax();
    }
    const auto end = std::chrono::steady_clock::now() + spin;
    do {
      for (int i = 0; i < 32; ++i) {
        if (value() != seen) return;
        relax();
      }
    } while (std::chrono::steady_clock::now() < end);
    sleepers_.fetch_add(1);
    while (value_.load() == seen) syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
    sleepers_.fetch_sub(1);
  }

 private:
  std::atomic<uint32_t> value_{0};
  std::atomic<int32_t> sleepers_{0};
};

struct alignas(64) Counter {
  std::atomic<int64_t> next{0};
};

}  // namespace

struct Team::State {
  int size = 1;
  std::vector<std::thread> threads;
  void (*fn)(void*, Member&) = nullptr;
  void* arg = nullptr;
  bool stop = false;  // written before start opens, read after
  std::mutex failure_mutex;
  std::exception_ptr failure;
  alignas(64) Gate start;
  alignas(64) Gate barrier;
  alignas(64) std::atomic<int> arrived{0};
  std::vector<Counter> counters;  // [kCounters][size]: claims in each member's share
};

Team::Team(int num_threads) : state_(std::make_unique<State>()) {
  state_->size = std::max(num_threads, 1);
  state_->counters = std::vector<Counter>(kCounters * size_t(state_->size));
  const auto worker = [this](int index) {
    uint32_t seen = 0;
    for (;;) {
      state_->start.wait(seen++, kRunSpin);
      if (state_->stop) return;
      Member member;
      member.team_ = this;
      member.index_ = index;
      member.size_ = state_->size;
      try {
        state_->fn(state_->arg, member);
      } catch (...) {
        const std::lock_guard lock(state_->failure_mutex);
        if (!state_->failure) state_->failure = std::current_exception();
      }
      member.barrier();
    }
  };
  try {
    for (int i = 1; i < state_->size; ++i) state_->threads.emplace_back(worker, i);
  } catch (...) {
    state_->stop = true;
    state_->start.open();
    for (auto& thread : state_->threads) thread.join();
    throw;
  }
}

Team::~Team() {
  state_->stop = true;
  state_->start.open();
  for (auto& thread : state_->threads) thread.join();
}

int Team::size() const {
  return state_->size;
}

// A function that throws must do so before its first barrier, or on every member alike.
void Team::run_erased(void (*fn)(void*, Member&), void* arg) {
  state_->fn = fn;
  state_->arg = arg;
  Member member;
  member.team_ = this;
  member.size_ = state_->size;
  if (state_->size > 1) state_->start.open();
  try {
    fn(arg, member);
  } catch (...) {
    const std::lock_guard lock(state_->failure_mutex);
    if (!state_->failure) state_->failure = std::current_exception();
  }
  member.barrier();
  if (state_->failure) std::rethrow_exception(std::exchange(state_->failure, nullptr));
}

void Member::barrier() {
  Team::State& state = *team_->state_;
  const uint32_t seen = state.barrier.value();
  if (state.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    // Everyone has left the tiles of this phase, so the counters may start again.
    for (size_t i = 0; i < phase_ * size_t(size_); ++i) state.counters[i].next.store(0, std::memory_order_relaxed);
    state.arrived.store(0, std::memory_order_relaxed);
    if (size_ > 1) state.barrier.open();
  } else {
    state.barrier.wait(seen, kBarrierSpin);
  }
  phase_ = 0;
}

int64_t Member::claim(int share) {
  Counter& counter = team_->state_->counters[phase_ * size_t(size_) + size_t(share)];
  return counter.next.fetch_add(1, std::memory_order_relaxed);
}

void Member::next_counter() {
  if (++phase_ == kCounters) barrier();
}

}  // namespace scalellm
