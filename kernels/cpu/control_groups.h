// Where the control groups of this process are: the folders of its own group and of those above it.
#pragma once
#include <string>
#include <vector>

namespace scalellm {

// One group that this process is in. Limits of all of them apply.
struct ControlGroup {
  std::string folder;  // below the root that was given
  bool unified;        // cgroup v2
  bool own;            // the process's own group, or the nearest to it that can be seen
};

// The groups of a controller ("memory", "cpu"), each hierarchy from the process's own up to its mount's root; v1, v2
// and both at once. Reads root + "/proc/self/cgroup" and "/proc/self/mountinfo". Linux: cgroups(7),
// cgroup_namespaces(7), proc_pid_mountinfo(5).
std::vector<ControlGroup> control_groups(const std::string& root, const std::string& controller);

}  // namespace scalellm
