// Team: the threads of one CPU engine. A whole forward pass is one call of run(): every member executes the same code
// (SPMD) and the members meet at barriers, so that a layer costs a handful of barriers instead of a wake-up an
// operation.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace scalellm {

class Team;

// What one thread sees of its team during run().
class Member {
 public:
  int index() const { return index_; }  // 0 is the thread that called run()
  int size() const { return size_; }

  // Waits for all members: spins briefly, then sleeps. Writes before it are visible to every member after it.
  void barrier();

  // Splits tiles 0..count-1 over the members. Each starts with a contiguous share of its own, so that memory streams
  // and claims meet no other core, and then helps the others with theirs, so that a stolen core costs a tile and not a
  // step. Every member calls it, in the same order between barriers, with the same count. Does not wait at the end.
  // Which member runs a tile never influences its result. kLastFirst goes through every share from its end, for tiles
  // that cost the more the later they come.
  enum Order { kFirstFirst, kLastFirst };
  template <class F>
  void for_tiles(int64_t count, F&& tile, Order order = kFirstFirst) {
    for (int share = index_, visited = 0; visited < size_; ++visited) {
      const int64_t begin = count * share / size_, end = count * (share + 1) / size_;
      for (int64_t i; (i = claim(share)) < end - begin;) tile(order == kFirstFirst ? begin + i : end - 1 - i);
      if (++share == size_) share = 0;
    }
    next_counter();
  }

 private:
  friend class Team;
  int64_t claim(int share);
  void next_counter();
  Team* team_ = nullptr;
  int index_ = 0;
  int size_ = 1;
  uint32_t phase_ = 0;
};

class Team {
 public:
  explicit Team(int num_threads);  // num_threads - 1 threads are started; they sleep between runs
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  int size() const;

  // Runs fn(member) on every member and returns when all are done. One run at a time.
  template <class F>
  void run(F&& fn) {
    run_erased([](void* f, Member& m) { (*static_cast<std::remove_reference_t<F>*>(f))(m); }, &fn);
  }

 private:
  friend class Member;
  void run_erased(void (*fn)(void*, Member&), void* arg);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace scalellm
