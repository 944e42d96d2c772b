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
  // step. Every member calls it, in the same order, with the same count, less than 2^24 a member. Does not wait at the
  // end. Which member runs a tile never influences its result. kLastFirst goes through every share from its end, for
  // tiles that cost the more the later they come.
  enum Order { kFirstFirst, kLastFirst };
  template <class F>
  void for_tiles(int64_t count, F&& tile, Order order = kFirstFirst) {
    ++phase_;
    for (int share = index_, visited = 0; visited < size_; ++visited) {
      const int64_t begin = count * share / size_, end = count * (share + 1) / size_;
      for (int64_t i; (i = claim(share, end - begin)) >= 0;) tile(order == kFirstFirst ? begin + i : end - 1 - i);
      if (++share == size_) share = 0;
    }
  }

 private:
  friend class Team;
  Member(Team& team, int index);
  // The next tile of a share of so many in this phase; -1 when there is none.
  int64_t claim(int share, int64_t tiles);
  Team& team_;
  const int index_;
  const int size_;
  uint64_t phase_;     // uses of for_tiles so far, in all runs
  uint64_t barriers_;  // and barriers
};

class Team {
 public:
  // Starts num_threads - 1 threads; they sleep between runs. A test may begin with any phase.
  explicit Team(int num_threads, uint64_t first_phase = 0);
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
  void run_member(Member& member);
  void work(int index);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace scalellm
