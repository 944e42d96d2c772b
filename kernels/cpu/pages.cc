#include "cpu/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace scalellm {
namespace {

int64_t page_bytes() {
  static const int64_t bytes = sysconf(_SC_PAGESIZE);
  return bytes;
}

}  // namespace

int64_t touch_pages(const std::vector<MemoryRange>& ranges, int64_t from, int64_t most) {
  int64_t at = 0;  // where the range begins among all
  const int64_t end = from + most;
  for (const MemoryRange& range : ranges) {
    const int64_t first = std::max<int64_t>(from - at, 0), last = std::min(end - at, range.bytes);
    // A write that changes nothing: reading alone would map the page of zeros that all share.
    for (int64_t i = first; i < last; i += page_bytes()) __atomic_fetch_or(range.begin + i, 0, __ATOMIC_RELAXED);
    at += range.bytes;
  }
  return std::min(end, at);
}

int64_t drop_pages(const MemoryRange& range) {
  const int64_t page = page_bytes(), begin = reinterpret_cast<int64_t>(range.begin);
  const int64_t first = (begin + page - 1) / page * page, last = (begin + range.bytes) / page * page;
  if (last <= first) return 0;
  const bool dropped = madvise(reinterpret_cast<void*>(first), static_cast<size_t>(last - first), MADV_DONTNEED) == 0;
  return dropped ? last - first : 0;
}

}  // namespace scalellm
