// A mount of a hierarchy shows its tree from some group on, the mount's root. /proc/self/cgroup and mountinfo name both
// relative to the reader's namespace, so that either may begin with "..": what they have in common falls away.
#include "cpu/control_groups.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace scalellm {
namespace {

using Names = std::vector<std::string>;

// Groups looked into for one whose name a namespace hides: far more than any machine nests.
constexpr int kMostSearched = 4096;

struct Mount {
  std::string point;
  Names root;
  bool unified;
};

Names split(const std::string& text, char separator) {
  Names out;
  std::istringstream stream(text);
  for (std::string name; std::getline(stream, name, separator);) {
    if (!name.empty()) out.push_back(name);
  }
  return out;
}

std::string join(std::string path, Names::const_iterator begin, Names::const_iterator end) {
  for (; begin != end; ++begin) path.append("/").append(*begin);
  return path;
}

// mountinfo writes blanks, tabs, newlines and backslashes in paths as three octal digits.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 3 >= text.size()) {
      out.push_back(text[i]);
      continue;
    }
    out.push_back(static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8)));
    i += 3;
  }
  return out;
}

bool has(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// ID PARENT DEVICE ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS; v1 names its controllers in the last.
std::vector<Mount> mounts_of(const std::string& root, const std::string& controller) {
  std::vector<Mount> out;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const Names fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (dash - fields.begin() < 6 || fields.end() - dash < 4) continue;
    const bool unified = dash[1] == "cgroup2";
    if (!unified && !(dash[1] == "cgroup" && has(split(dash[3], ','), controller))) continue;
    out.push_back({root + unescape(fields[4]), split(unescape(fields[3]), '/'), unified});
  }
  return out;
}

// ID:CONTROLLERS:PATH; v2 is 0::PATH.
std::optional<Names> path_of(const std::string& root, const std::string& controller, bool unified) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (unified ? !controllers.empty() : !has(split(controllers, ','), controller)) continue;
    std::string path = line.substr(second + 1);
    const std::string deleted = " (deleted)";
    if (path.size() > deleted.size() && path.ends_with(deleted)) path.resize(path.size() - deleted.size());
    return split(path, '/');
  }
  return std::nullopt;
}

bool holds_process(const std::string& folder, long pid) {
  std::ifstream file(folder + "/cgroup.procs");
  for (long member = 0; file >> member;) {
    if (member == pid) return true;
  }
  return false;
}

// Finds the names of `hidden` groups from `folder` on, behind which `below` leads to the group that holds the process.
bool search(const std::string& folder, size_t hidden, const Names& below, long pid, int* budget, Names* found) {
  if (hidden == 0) return holds_process(join(folder, below.begin(), below.end()), pid);
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; at != end; at.increment(error)) {
    std::error_code unreadable;
    if (!at->is_directory(unreadable) || --*budget < 0) continue;
    found->push_back(at->path().filename());
    if (search(at->path(), hidden - 1, below, pid, budget, found)) return true;
    found->pop_back();
  }
  return false;
}

// The process's own group as names below the mount's root; none where the mount does not show it.
std::optional<Names> below_mount(const std::string& root, const Mount& mount, const Names& path) {
  const auto [in_root, in_path] = std::mismatch(mount.root.begin(), mount.root.end(), path.begin(), path.end());
  const Names below(in_path, path.end());
  if (has(below, "..")) return std::nullopt;  // outside the part that is mounted
  if (in_root == mount.root.end()) return below;
  // The mount begins above the namespace's root, whose own name nothing tells.
  if (!std::all_of(in_root, mount.root.end(), [](const std::string& name) { return name == ".."; })) {
    return std::nullopt;
  }
  long pid = 0;
  std::ifstream(root + "/proc/self/stat") >> pid;
  int budget = kMostSearched;
  Names found;
  const auto hidden = static_cast<size_t>(mount.root.end() - in_root);
  if (!search(mount.point, hidden, below, pid, &budget, &found)) return std::nullopt;
  found.insert(found.end(), below.begin(), below.end());
  return found;
}

}  // namespace

std::vector<ControlGroup> control_groups(const std::string& root, const std::string& controller) {
  std::vector<ControlGroup> out;
  for (const Mount& mount : mounts_of(root, controller)) {
    const std::optional<Names> path = path_of(root, controller, mount.unified);
    if (!path) continue;
    // A mount that does not show the process's group is a container's view of some group: the best that can be known.
    const Names below = below_mount(root, mount, *path).value_or(Names());
    for (auto end = below.end();; --end) {
      out.push_back({join(mount.point, below.begin(), end), mount.unified, end == below.end()});
      if (end == below.begin()) break;
    }
  }
  return out;
}

}  // namespace scalellm
