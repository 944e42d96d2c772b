// How much of the machine this process may use: memory and processor time, by the least limit on the way up its own
// control groups and by its resource limits.
#pragma once
#include <cstdint>
#include <string>

namespace scalellm {

struct ProcessLimits {
  int64_t total_memory = 0;      // bytes: the machine's, or the least limit
  int64_t available_memory = 0;  // bytes that can still be taken, at the level where least is left
  double cpu_quota = 0;          // cores' worth of processor time; 0: no quota
  std::string memory_limit;      // what sets total_memory, for people; empty: the machine
  std::string cpu_limit;         // what sets cpu_quota; empty: nothing
};

// Reads root + "/proc" and the control group mounts below root; "" is this machine. Never throws: what cannot be read
// sets no limit.
ProcessLimits process_limits(const std::string& root);

// Threads that a process with so many cores and this quota should compute with; at least 1.
int32_t cores_within(int32_t cores, double cpu_quota);

}  // namespace scalellm
