// How many threads the next step gets. Members of a team meet at barriers, so a team with a member whose core another
// process has taken runs no faster than that member: on two cores with one taken, two threads get half of their time
// and a decode alone is a third as fast, where one thread makes more than half. A crew notices from its members'
// processor time, leaves a core to the other process, and tries again from time to time. Results do not depend on the
// number of threads, so it may change at any step.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/threads/team.h"

namespace scalellm {

class Crew {
 public:
  explicit Crew(int num_threads);

  int largest() const { return static_cast<int>(teams_.size()); }

  // The team for a step that starts now. Throws where a thread cannot be started.
  Team& team(uint64_t now_ns);

  // Reports a step: its wall time and the processor time of all members together.
  void report(uint64_t start_ns, uint64_t end_ns, uint64_t cpu_ns);

 private:
  std::vector<std::unique_ptr<Team>> teams_;  // [size - 1], started when first needed
  int size_;
  uint64_t wall_ns_ = 0, cpu_ns_ = 0;  // of steps at this size since it was chosen or last judged
  int bad_ = 0;                        // judgements in a row that too much time was lost
  uint64_t hold_ns_;                   // how long to stay small
  uint64_t retry_ns_ = 0;              // when to try one thread more
  uint64_t settled_ns_ = 0;            // when a team that was asleep has its threads on cores of their own
};

// Processor time of the calling thread.
uint64_t thread_cpu_ns();

}  // namespace scalellm
