// Teams of all sizes: every tile runs once whoever is late, what was written before a barrier is seen after it, and a
// team goes on after an exception.
#pragma once
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "cpu/threads/team.h"

namespace check {

// What all members do: phases of so many tiles, some with a barrier after them, before which some members are late.
struct TeamScript {
  struct Phase {
    int tiles;
    bool barrier;
    int late;  // the member that is, or none
  };
  std::vector<Phase> phases;
  explicit TeamScript(int size) {
    for (int i = integer(1, 60); i > 0; --i) {
      phases.push_back(
          {pick({0, 1, size, integer(0, 50), integer(0, 3000)}), integer(0, 2) > 0, integer(0, 10 * size)});
    }
    phases.back().barrier = true;
  }
};

inline void run_script(scalellm::Team& team, const std::string& what) {
  using namespace scalellm;
  const TeamScript script(team.size());
  std::vector<std::vector<int>> runs;  // plain ints: a tile that two members ran at once is a race for the sanitizers
  for (const auto& phase : script.phases) runs.emplace_back(size_t(phase.tiles));
  std::atomic<int> unseen{0};
  team.run([&](Member& member) {
    for (size_t p = 0, seen = 0; p < script.phases.size(); ++p) {
      const auto& phase = script.phases[p];
      if (phase.late == member.index()) std::this_thread::sleep_for(std::chrono::microseconds(300));
      const auto order = p % 2 == 0 ? Member::kFirstFirst : Member::kLastFirst;
      member.for_tiles(
          phase.tiles, [&](int64_t i) { ++runs[p][size_t(i)]; }, order);
      if (!phase.barrier) continue;
      member.barrier();
      for (; seen <= p; ++seen) {
        for (const int count : runs[seen]) unseen += count != 1;
      }
    }
  });
  expect(unseen == 0, what + ": tiles that ran once, seen by every member after the barrier");
}

inline void teams() {
  using namespace scalellm;
  for (int size = 1; size <= 9; ++size) {
    const std::string what = "team of " + std::to_string(size);
    Team team(size, pick<uint64_t>({0, (uint64_t{1} << 40) - 20, (uint64_t{1} << 39) - 20}));
    for (int i = 0; i < 30; ++i) run_script(team, what);
    const int thrower = integer(0, size - 1);
    bool thrown = false;
    try {
      team.run([&](Member& member) {
        if (member.index() == thrower) throw std::runtime_error("on purpose");
        member.for_tiles(7, [](int64_t) {});
        member.for_tiles(5, [](int64_t) {});
      });
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    expect(thrown, what + ": an exception reaches the caller");
    for (int i = 0; i < 5; ++i) run_script(team, what + " after an exception");
  }
}

}  // namespace check
