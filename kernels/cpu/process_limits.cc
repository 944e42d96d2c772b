// Limits nest: a group's memory counts in every group above it, so what is left is the least that any level leaves.
#include "cpu/process_limits.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "cpu/control_groups.h"

namespace scalellm {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

// The first number in a file; fallback where there is none ("max" is no limit).
int64_t read_number(const std::string& path, int64_t fallback) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : fallback;
}

// The value of "name ..." in a file of such lines, or fallback.
int64_t field_of(const std::string& path, const std::string& name, int64_t fallback) {
  std::ifstream file(path);
  std::string key;
  int64_t value = 0;
  while (file >> key) {
    if (key == name && file >> value) return value;
    file.clear();
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return fallback;
}

void take_memory(ProcessLimits* out, int64_t limit, int64_t used, const std::string& source) {
  used = std::max<int64_t>(used, 0);
  // v1 writes "no limit" as the largest multiple of a page.
  if (limit >= out->total_memory && limit - used >= out->available_memory) return;
  if (limit < out->total_memory) {
    out->total_memory = limit;
    out->memory_limit = source;
  }
  out->available_memory = std::clamp<int64_t>(limit - used, 0, out->available_memory);
}

// Pages of files that are not in use go as soon as memory is wanted: they are not counted as used.
int64_t used_memory(const ControlGroup& group) {
  const std::string at = group.folder + "/memory.";
  const int64_t files = field_of(at + "stat", group.unified ? "inactive_file" : "total_inactive_file", 0);
  return read_number(at + (group.unified ? "current" : "usage_in_bytes"), 0) - files;
}

void memory_groups(const std::string& root, ProcessLimits* out) {
  const std::vector<ControlGroup> groups = control_groups(root, "memory");
  bool counts = true;
  for (const ControlGroup& group : groups) {
    const std::string at = group.folder + "/memory.", shown = at.substr(root.size());
    const int64_t used = used_memory(group);
    if (group.unified) {
      // Beyond "high" a group is slowed down until it is of no use: a limit like "max".
      for (const char* name : {"max", "high"}) take_memory(out, read_number(at + name, kNone), used, shown + name);
      continue;
    }
    // Old kernels let a group stay out of its children's account: then it sets them no limit, nor does what is above.
    counts = group.own || (counts && read_number(at + "use_hierarchy", 1) != 0);
    if (!counts) continue;
    take_memory(out, read_number(at + "limit_in_bytes", kNone), used, shown + "limit_in_bytes");
  }
  // v1 also tells the least limit of all groups above, those included that no mount shows.
  for (const ControlGroup& group : groups) {
    if (group.unified || !group.own) continue;
    const std::string stat = group.folder + "/memory.stat";
    const int64_t limit = field_of(stat, "hierarchical_memory_limit", kNone);
    take_memory(out, limit, used_memory(group), stat.substr(root.size()));
  }
}

// Resource limits count what is mapped, not what is resident: the KV cache and the weights are mapped whole.
void resource_limits(const std::string& root, ProcessLimits* out) {
  struct Resource {
    const char *name, *used_field, *source;
  };
  const std::string status = root + "/proc/self/status";
  for (const Resource& resource :
       {Resource{"Max address space ", "VmSize:", "ulimit -v"}, Resource{"Max data size ", "VmData:", "ulimit -d"}}) {
    std::ifstream file(root + "/proc/self/limits");
    const std::string name = resource.name;
    for (std::string line; std::getline(file, line);) {
      if (line.compare(0, name.size(), name) != 0) continue;
      const char* text = line.c_str() + name.size();
      char* end = nullptr;
      const int64_t limit = std::strtoll(text, &end, 10);
      if (end != text) take_memory(out, limit, field_of(status, resource.used_field, 0) * 1024, resource.source);
    }
  }
}

void cpu_groups(const std::string& root, ProcessLimits* out) {
  for (const ControlGroup& group : control_groups(root, "cpu")) {
    const std::string file = group.folder + (group.unified ? "/cpu.max" : "/cpu.cfs_quota_us");
    int64_t quota = 0, period = 0;
    std::ifstream stream(file);
    // v2 has "QUOTA PERIOD", QUOTA "max" for none; v1 a file each, -1 for none.
    if (!(stream >> quota) || quota <= 0) continue;
    if (!group.unified) {
      period = read_number(group.folder + "/cpu.cfs_period_us", 0);
    } else if (!(stream >> period)) {
      continue;
    }
    if (period <= 0) continue;
    const double cores = static_cast<double>(quota) / static_cast<double>(period);
    if (out->cpu_quota > 0 && cores >= out->cpu_quota) continue;
    out->cpu_quota = cores;
    out->cpu_limit = file.substr(root.size());
  }
}

}  // namespace

ProcessLimits process_limits(const std::string& root) {
  const std::string meminfo = root + "/proc/meminfo";
  ProcessLimits out;
  out.total_memory = field_of(meminfo, "MemTotal:", 0) * 1024;
  out.available_memory = field_of(meminfo, "MemAvailable:", 0) * 1024;
  memory_groups(root, &out);
  resource_limits(root, &out);
  cpu_groups(root, &out);
  return out;
}

// To the nearest: threads meet at barriers, so with half a thread too many all of them stand still for less time than
// the half would have computed in.
int32_t cores_within(int32_t cores, double cpu_quota) {
  if (cpu_quota <= 0 || cpu_quota >= cores) return std::max(cores, 1);
  return std::max(1, static_cast<int32_t>(std::lround(cpu_quota)));
}

}  // namespace scalellm
