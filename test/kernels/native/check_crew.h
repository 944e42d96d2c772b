// A crew's number of threads, by steps of made-up times.
#pragma once
#include "check.h"
#include "cpu/threads/crew.h"

namespace check {

// Steps of 10 ms whose members got a share of their processor time.
class CrewScript {
 public:
  CrewScript() : crew_(2) {}

  // Runs steps for so long and returns the size of the last one's team.
  int run(int milliseconds, double share) {
    int size = 0;
    for (const uint64_t end = now_ + uint64_t(milliseconds) * 1'000'000; now_ < end;) {
      size = crew_.team(now_).size();
      const uint64_t start = now_;
      now_ += 10'000'000;
      crew_.report(start, now_, uint64_t(share * double(size) * 1e7));
    }
    return size;
  }

 private:
  scalellm::Crew crew_;
  uint64_t now_ = 1'000'000'000;
};

inline void crews() {
  CrewScript undisturbed;
  expect(undisturbed.run(1000, 0.98) == 2, "crew: members that get their time stay");
  expect(undisturbed.run(1000, 0.66) == 2, "crew: two threads that lose a third do more than one");
  expect(undisturbed.run(30, 0.5) == 2 && undisturbed.run(1000, 0.98) == 2, "crew: a bad moment proves nothing");

  CrewScript robbed;
  expect(robbed.run(80, 0.5) == 1, "crew: a core that another process has taken is left to it");
  expect(robbed.run(150, 1) == 1, "crew: and is not tried again at once");
  expect(robbed.run(40, 1) == 2, "crew: but soon");
  expect(robbed.run(60, 0.5) == 1, "crew: one bad judgement ends a try");
  expect(robbed.run(300, 1) == 1 && robbed.run(120, 1) == 2, "crew: and the next comes after twice as long");
  expect(robbed.run(500, 0.98) == 2, "crew: a core that is free again is kept");
}

}  // namespace check
