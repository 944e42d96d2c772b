// Threads, barrier and claims of a Team. No line of memory is written by all members: between distant cores its way
// takes longer than the rest of a barrier. Waiting spins for a bounded time, because a layer's barriers come a few
// microseconds apart, and then sleeps on a futex, because a spinning thread on a core that another process wants would
// delay the very thread it waits for.
#include "cpu/threads/team.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace scalellm {
namespace {

// A barrier's other members are at most a tile away; a run follows the last one within a step's bookkeeping.
constexpr std::chrono::microseconds kBarrierSpin{30};
constexpr std::chrono::microseconds kRunSpin{60};

// Up to so many members look for each of the others at a barrier. In a larger team the first looks for all of them and
// they look for it, which takes twice as long but not a read of every line by everyone.
constexpr int kMostEyes = 4;

// A claim is a phase and how many tiles of it are taken. The phase wraps around, which its comparison allows for.
constexpr int kTileBits = 24;
constexpr uint64_t kMostTiles = (uint64_t{1} << kTileBits) - 1;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// For waiting until a condition holds that others bring about.
class Bell {
 public:
  // After a sequentially consistent store to what conditions read: a sleeper is either seen here or sees the store.
  void ring() {
    if (sleepers_.load() == 0) return;
    rings_.fetch_add(1);
    syscall(SYS_futex, &rings_, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
  }

  template <class Condition>
  void wait(std::chrono::microseconds spin, Condition&& holds) {
    for (int i = 0; i < 64; ++i) {
      if (holds()) return;
      relax();
    }
    const auto end = std::chrono::steady_clock::now() + spin;
    do {
      for (int i = 0; i < 32; ++i) {
        if (holds()) return;
        relax();
      }
    } while (std::chrono::steady_clock::now() < end);
    sleepers_.fetch_add(1);
    for (;;) {
      const uint32_t seen = rings_.load();
      if (holds()) break;
      syscall(SYS_futex, &rings_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
    }
    sleepers_.fetch_sub(1);
  }

 private:
  std::atomic<uint32_t> rings_{0};
  std::atomic<int32_t> sleepers_{0};
};

// What a member writes, a pair of lines for each: processors fetch lines in pairs.
struct alignas(128) Arrival {
  std::atomic<uint64_t> barriers{0};
  uint64_t phase = 0;  // its last one, left at the end of a run
};
struct alignas(128) Claims {
  std::atomic<uint64_t> taken{0};
};

}  // namespace

struct Team::State {
  State(int num_members, uint64_t first_phase)
      : size(num_members), phase(first_phase), arrivals(size_t(num_members)), claims(size_t(num_members)) {
    for (Claims& c : claims) c.taken = first_phase << kTileBits;
  }
  const int size;
  std::vector<std::thread> threads;
  void (*fn)(void*, Member&) = nullptr;
  void* arg = nullptr;
  uint64_t phase, barriers = 0;  // where the next run begins
  bool stop = false;             // written before a run starts, as all above; read after
  std::mutex failure_mutex;
  std::exception_ptr failure;
  alignas(128) std::atomic<uint64_t> runs{0};
  Bell started;
  alignas(128) Bell arrived;
  std::vector<Arrival> arrivals;
  std::vector<Claims> claims;

  void start_run() {
    runs.fetch_add(1);
    started.ring();
  }
};

Team::Team(int num_threads, uint64_t first_phase)
    : state_(std::make_unique<State>(std::max(num_threads, 1), first_phase)) {
  try {
    for (int i = 1; i < size(); ++i) state_->threads.emplace_back([this, i] { work(i); });
  } catch (...) {
    state_->stop = true;
    state_->start_run();
    for (auto& thread : state_->threads) thread.join();
    throw;
  }
}

Team::~Team() {
  state_->stop = true;
  state_->start_run();
  for (auto& thread : state_->threads) thread.join();
}

int Team::size() const {
  return state_->size;
}

void Team::work(int index) {
  State& state = *state_;
  for (uint64_t run = 1;; ++run) {
    state.started.wait(kRunSpin, [&] { return state.runs.load() >= run; });
    if (state.stop) return;
    Member member(*this, index);
    run_member(member);
  }
}

// A function that throws must do so before its first barrier, or on every member alike.
void Team::run_member(Member& member) {
  try {
    state_->fn(state_->arg, member);
  } catch (...) {
    const std::lock_guard lock(state_->failure_mutex);
    if (!state_->failure) state_->failure = std::current_exception();
  }
  state_->arrivals[size_t(member.index_)].phase = member.phase_;
  member.barrier();
}

void Team::run_erased(void (*fn)(void*, Member&), void* arg) {
  State& state = *state_;
  state.fn = fn;
  state.arg = arg;
  Member member(*this, 0);
  if (state.size > 1) state.start_run();
  run_member(member);
  state.barriers = member.barriers_;
  // They differ where one threw.
  for (const Arrival& arrival : state.arrivals) state.phase = std::max(state.phase, arrival.phase);
  if (state.failure) std::rethrow_exception(std::exchange(state.failure, nullptr));
}

Member::Member(Team& team, int index)
    : team_(team), index_(index), size_(team.size()), phase_(team.state_->phase), barriers_(team.state_->barriers) {}

void Member::barrier() {
  ++barriers_;
  if (size_ == 1) return;
  Team::State& state = *team_.state_;
  const bool led = size_ > kMostEyes, first = index_ == 0;
  const int looked_for = led && !first ? 1 : size_;  // members 0 .. looked_for - 1
  const auto arrive = [&] {
    state.arrivals[size_t(index_)].barriers.store(barriers_);
    state.arrived.ring();
  };
  if (!led || !first) arrive();
  state.arrived.wait(kBarrierSpin, [&] {
    for (int i = 0; i < looked_for; ++i) {
      if (i != index_ && state.arrivals[size_t(i)].barriers.load() < barriers_) return false;
    }
    return true;
  });
  if (led && first) arrive();
}

// Claims of an earlier phase are out of date. Claims of a later one were made by a member that found nothing left in
// this phase. A share without tiles is brought up to date like the others, lest it fall behind by half the numbers that
// a phase can have.
int64_t Member::claim(int share, int64_t tiles) {
  if (tiles > int64_t(kMostTiles)) throw std::length_error("too many tiles");
  std::atomic<uint64_t>& taken = team_.state_->claims[size_t(share)].taken;
  const uint64_t phase = phase_ << kTileBits;
  uint64_t seen = taken.load(std::memory_order_relaxed);
  int64_t next = 0;
  do {
    const int64_t lead = int64_t((seen & ~kMostTiles) - phase);
    next = lead == 0 ? int64_t(seen & kMostTiles) : 0;
    if (lead > 0 || (lead == 0 && next >= tiles)) return -1;
  } while (!taken.compare_exchange_weak(seen, phase | uint64_t(std::min(next + 1, tiles)), std::memory_order_relaxed));
  return next < tiles ? next : -1;
}

}  // namespace scalellm
